"""The catalogue's page for one researcher, of what the researcher may read."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

from appliance.data.cataloguing import believed, kept
from appliance.data.cataloguing.page import page
from appliance.data.cataloguing.search import Entry, catalogue
from appliance.placement.model.s3_address import S3Address

PNG = b"\x89PNG\r\n\x1a\n"
PREVIEW_BYTES = 256 * 2**10  # of one picture; ours are a tenth of it
PREVIEWS = 300  # pictures on the page, which holds them itself: of no origin, it is sent nothing that wants a log-in


def own_page() -> str:
    """The page, with its pictures in it. Raises ``OSError`` where S3 cannot be reached."""
    entries = list(catalogue())
    pictured = [one for one in entries if believed.PREVIEW in one.feature["assets"]][:PREVIEWS]
    with ThreadPoolExecutor(8) as threads:
        previews = dict(zip((one.address for one in pictured), threads.map(_preview, pictured), strict=True))
    return page([one.feature for one in entries], {address: url for address, url in previews.items() if url})


def _preview(entry: Entry) -> str:
    address = S3Address.parse(entry.feature["assets"][believed.PREVIEW]["href"])
    return as_url(kept.read(address.bucket, address.key, PREVIEW_BYTES))


def as_url(picture: bytes | None) -> str:
    """A PNG as an address that holds it; "" for anything else."""
    if not picture or not picture.startswith(PNG) or len(picture) > PREVIEW_BYTES:
        return ""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
