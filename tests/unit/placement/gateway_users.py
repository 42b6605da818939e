"""A gateway that knows users and checks their signatures, as RGW does, and callers that need no gateway."""

import http.server
import threading
from typing import Any
from xml.sax.saxutils import escape

from appliance.placement.callers import Callers
from appliance.placement.signature import Keys, headers_with, signature

OWNER = (
    '<?xml version="1.0" encoding="UTF-8"?><ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Owner><ID>{}</ID><DisplayName>A Name</DisplayName></Owner><Buckets>{}</Buckets></ListAllMyBucketsResult>"
)
BUCKET = "<Bucket><Name>alice-{}</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket>"


class GatewayUsers:
    """A gateway's port. ``users``: user and secret key by access key. ``asked``: method, path and host of requests."""

    def __init__(self, **users: tuple[str, str]) -> None:
        self.users, self.asked = users, list[tuple[str, str, str]]()
        self.status, self.body = 200, ""  # another answer than the right one
        self.buckets = 3
        self._httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._httpd.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._httpd.server_address[1]}"

    def close(self) -> None:
        """End it; it does not answer any more."""
        self._httpd.shutdown()
        self._httpd.server_close()
        self._thread.join()

    def judge(self, headers: Any, path: str) -> tuple[int, str]:
        """Return status and body for a request, having made the signature anew from the user's secret."""
        given, stamp, host = headers.get("Authorization", ""), headers.get("x-amz-date", ""), headers["Host"]
        if not given:
            return 200, OWNER.format("anonymous", "")
        access = given.partition("Credential=")[2].partition("/")[0]
        if access not in self.users:
            return 403, "<Error><Code>InvalidAccessKeyId</Code></Error>"
        user, secret = self.users[access]
        right = headers_with(signature(Keys(access, secret), host, path, "", stamp), access, host, stamp)
        if given != right["authorization"]:
            return 403, "<Error><Code>SignatureDoesNotMatch</Code></Error>"
        return 200, OWNER.format(escape(user), "".join(BUCKET.format(number) for number in range(self.buckets)))

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        gateway = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gateway.asked.append((self.command, self.path, self.headers["Host"]))
                status, body = gateway.judge(self.headers, self.path)
                self.send_response(status if gateway.status == 200 else gateway.status)
                self.end_headers()
                self.wfile.write((gateway.body or body).encode())

            def log_message(self, *_: Any) -> None:
                """Keep the test's output clean."""

        return Handler


class Everyone(Callers):
    """Takes everybody for a user."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9")

    def known(self, header: str | None) -> str | None:
        """Return a user."""
        del header
        return "somebody"
