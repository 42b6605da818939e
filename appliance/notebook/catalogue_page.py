"""The catalogue's page at ``/user/NAME/catalogue``, for who is logged in as NAME."""

from __future__ import annotations

import asyncio

from jupyter_server.base.handlers import JupyterHandler
from tornado import web

from appliance.data.cataloguing.page import headers


class CataloguePage(JupyterHandler):  # type: ignore[misc]  # its package is not on the control host
    """Shows it, sealed off from all else that is served here (`appliance.data.cataloguing.page`)."""

    SUPPORTED_METHODS = ("GET",)

    @web.authenticated
    async def get(self) -> None:
        """Make the page of what the owner may read now."""
        # Here, since it takes a second to import, which a server that starts need not pay.
        from appliance.data.cataloguing.own_page import own_page

        try:
            text = await asyncio.get_running_loop().run_in_executor(None, own_page)
        except OSError as error:
            raise web.HTTPError(503, f"S3 does not answer: {error}") from error
        for name, value in headers().items():
            self.set_header(name, value)
        self.finish(text)
