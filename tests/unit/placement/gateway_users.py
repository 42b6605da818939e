"""A gateway that knows users and checks their signatures, as RGW does, and an authenticator that needs no gateway."""

from contextlib import ExitStack
from typing import Any
from xml.sax.saxutils import escape

import http_serving
from http_serving import serving

from appliance.placement.auth.sigv4 import Keys, headers_of, sign
from appliance.placement.service.authentication import Authenticator

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
        self._serving = ExitStack()
        port = self._serving.enter_context(serving(self._handler()))
        self.endpoint = f"http://127.0.0.1:{port}"

    def close(self) -> None:
        """End it; it does not answer any more."""
        self._serving.close()

    def judge(self, headers: Any, path: str) -> tuple[int, str]:
        """Return status and body for a request, having made the signature anew from the user's secret."""
        given, stamp, host = headers.get("Authorization", ""), headers.get("x-amz-date", ""), headers["Host"]
        if not given:
            return 200, OWNER.format("anonymous", "")
        access = given.partition("Credential=")[2].partition("/")[0]
        if access not in self.users:
            return 403, "<Error><Code>InvalidAccessKeyId</Code></Error>"
        user, secret = self.users[access]
        right = headers_of(sign(Keys(access, secret), "GET", host, path, stamp), access, host, stamp)
        if given != right["authorization"]:
            return 403, "<Error><Code>SignatureDoesNotMatch</Code></Error>"
        return 200, OWNER.format(escape(user), "".join(BUCKET.format(number) for number in range(self.buckets)))

    def _handler(self) -> type[http_serving.Handler]:
        gateway = self

        class Handler(http_serving.Handler):
            def do_GET(self) -> None:
                gateway.asked.append((self.command, self.path, self.headers["Host"]))
                status, body = gateway.judge(self.headers, self.path)
                self.send_response(status if gateway.status == 200 else gateway.status)
                self.end_headers()
                self.wfile.write((gateway.body or body).encode())

        return Handler


class Everyone(Authenticator):
    """Takes everybody for a user."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9")

    def cached_user(self, header: str | None) -> str | None:
        """Return a user."""
        del header
        return "somebody"
