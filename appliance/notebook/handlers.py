"""What the facility adds to a Jupyter server, most of all dashboards at ``/user/NAME/proxy/clusters/CLUSTER/…``.

They are for who is logged in as NAME.

A page is asked for at its plain address, which sends to one with a key (`page_keys`). There the page itself still wants
the log-in; its parts and the WebSocket of its plots, with which browsers send no cookies, want the key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import APIVersionHandler, JupyterHandler
from jupyter_server.utils import url_path_join
from jupyter_server_proxy.handlers import ProxyHandler, RewritableResponse
from tornado import web
from tornado.httputil import HTTPHeaders

from appliance.notebook.catalogue_page import CataloguePage
from appliance.notebook.dashboards import Dashboards, NoDashboardError
from appliance.notebook.page_keys import LIFETIME, PATTERN
from appliance.notebook.sealing import SEAL, answered, asked, is_part

_PLACE = "proxy/clusters"
_CLUSTER = "([0-9a-f]{32})"


def add_to(server: Any) -> None:
    """Add the pages to a Jupyter server, and a log-in before what told everybody its version."""
    dashboards = Dashboards(Path(server.runtime_dir))
    base = server.web_app.settings["base_url"]
    # Each address is of exactly one of them: a key has a mark before it.
    pages = {rf"{_CLUSTER}/~({PATTERN})/(.*)": Page, rf"{_CLUSTER}/(?!~)(.*)": Entrance}
    routes: list[Any] = [
        (url_path_join(base, _PLACE, path), page, {"dashboards": dashboards}) for path, page in pages.items()
    ]
    routes += [(url_path_join(base, "catalogue"), CataloguePage), (url_path_join(base, "api") + "/?", Version)]
    server.web_app.add_handlers(".*$", routes)


class Version(APIVersionHandler):  # type: ignore[misc]  # its package is not on the control host
    """Tells the server's version to its owner alone."""

    @web.authenticated
    def get(self) -> None:
        """Answer as the parent class, which asks for no log-in."""
        super().get()


class Entrance(JupyterHandler):  # type: ignore[misc]  # its package is not on the control host
    """Sends who is logged in to an address with a key."""

    SUPPORTED_METHODS = ("GET",)

    def initialize(self, dashboards: Dashboards) -> None:
        """Take what the server's routes name."""
        self._dashboards = dashboards

    @web.authenticated
    async def get(self, cluster: str, _path: str) -> None:
        """Open the dashboard and send to the page."""
        try:
            key = await self._dashboards.open(cluster)
        except NoDashboardError as error:
            raise web.HTTPError(404, str(error)) from error
        except aiohttp.ClientError as error:
            raise web.HTTPError(503, f"the Dask gateway does not answer: {error}") from error
        before, _, behind = str(self.request.uri).partition(f"/{cluster}/")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")
        self.redirect(f"{before}/{cluster}/~{key}/{behind}")


class Page(ProxyHandler):  # type: ignore[misc]  # its package is not on the control host
    """Shows a dashboard's pages, sealed."""

    SUPPORTED_METHODS = ("GET",)

    def initialize(self, dashboards: Dashboards) -> None:
        """Take what the server's routes name."""
        self._dashboards = dashboards
        self.rewrite_response = lambda response: self._seal(response)  # the library reads a function's arguments

    def set_default_headers(self) -> None:
        """Seal what is said of errors, too."""
        super().set_default_headers()
        for name, value in SEAL:
            self.set_header(name, value)

    async def prepare(self) -> None:
        """Let in by the key, or else by the log-in alone, which leads to a new key."""
        cluster, key, _ = self.path_args
        self._opened = self._dashboards.keys.opens(key, cluster)
        if self._opened:
            await JupyterHandler.prepare(self)
        else:
            await super().prepare()
            if self.request.headers.get("Upgrade"):
                raise web.HTTPError(403, "this page is too old; load it again")

    @allow_unauthenticated  # type: ignore[untyped-decorator]
    async def get(self, *args: str) -> None:
        """Show a page or a part of one, or open a WebSocket; `prepare` has let in who may."""
        await super().get(*args)

    async def http_get(self, cluster: str, key: str, path: str) -> None:
        """Show a page or a part of one."""
        # A page that is shown has its parts before it, which want the key for a while.
        if self.current_user and not self._dashboards.keys.opens(key, cluster, left=LIFETIME / 2):
            self.redirect(str(self.request.uri).replace(f"/~{key}/", "/", 1))
            return
        self._lead_to(cluster)
        self.proxy_base = f"{_PLACE}/{cluster}/~{key}"
        if self.request.headers.get("Accept") == "text/event-stream":
            self.request.headers["Accept"] = "*/*"  # of which the library would pass on all headers as they come
        await self.proxy("localhost", 0, path)

    async def open(self, cluster: str, _key: str, path: str) -> None:
        """Open a WebSocket."""
        self._lead_to(cluster)
        await self.proxy_open("localhost", 0, path)

    def check_origin(self, origin: str | None = None) -> bool:  # noqa: ARG002
        """Whether a WebSocket may be opened: the page's origin is none, and its key is what counts."""
        return self._opened

    def proxy_request_headers(self) -> HTTPHeaders:
        """Return what the scheduler is told of the request."""
        return _headers(asked(self.request.headers.get_all()))

    def _lead_to(self, cluster: str) -> None:
        try:
            self.unix_socket = self._dashboards.socket(cluster)
        except NoDashboardError as error:
            raise web.HTTPError(404, str(error)) from error

    def _seal(self, response: RewritableResponse) -> None:
        headers = list(response.headers.get_all())
        (kind,) = [value for name, value in headers if name == "Content-Type"][:1] or [""]
        if not self.current_user and not is_part(kind):
            response.code, response.body, headers = 403, b"Log in first.", [("Content-Type", "text/plain")]
        response.headers = _headers(answered(headers))


def _headers(pairs: Any) -> HTTPHeaders:
    made = HTTPHeaders()
    for name, value in pairs:
        made.add(name, value)
    return made
