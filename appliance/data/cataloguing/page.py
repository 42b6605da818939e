"""The catalogue as a page: a list that needs no script, which a small script searches.

Its words are those of anybody who publishes. So they are escaped, the page runs no script but its own, and whoever
serves it sends `headers` with it: it has an origin of its own, from which nothing of the hub's is reached.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined

from appliance.data.cataloguing import believed
from appliance.placement.model.s3_address import S3Address

TOLD = 40  # variables of a dataset that are told
HTTPS = {  # how somebody outside opens what is published, by kind
    "zarr": 'xr.open_zarr("{https}")',
    "kerchunk": 'xr.open_dataset("{s3}", engine="kerchunk", chunks={{}}, storage_options={{"remote_protocol": "s3", '
    '"remote_options": {anonymous}, "target_options": {anonymous}}})',
    "netcdf": 'xr.open_dataset(fsspec.open("{https}").open())',
    "icechunk": "",
    "files": "",
}


def page(features: Sequence[dict[str, Any]], previews: Mapping[str, str], public_url: str = "", stac: str = "") -> str:
    """Write the page.

    Args:
        features: items, as ``believed.features`` returns them.
        previews: addresses of pictures (``data:`` or on the page's own site) by the address of the dataset.
        public_url: where everybody reads what is published, ``https://NAME``; empty on a page for one researcher.
        stac: where programs find the same, as a STAC catalog; it is told on a public page.
    """
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(_part("page.html.j2"))
    return template.render(
        cards=[_card(one, previews.get(believed.address_of(one), ""), public_url) for one in features],
        css=_part("page.css"),
        js=_part("page.js"),
        policy=_policy(public_url),
        public=bool(public_url),
        stac=stac,
    )


def headers() -> dict[str, str]:
    """What has to be sent with the page, whoever serves it."""
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": f"{_policy()}; frame-ancestors 'none'; sandbox allow-scripts",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


@cache
def _policy(public_url: str = "") -> str:
    """The page's own script and style and no others (Content Security Policy, level 3: by their digests).

    Pictures are the page's own, or on the public page those of its site: of no origin, it has no 'self'.
    """
    script, style = (f"'sha256-{_digest(_part(name))}'" for name in ("page.js", "page.css"))
    pictures = public_url or "data:"
    return (
        f"default-src 'none'; script-src {script}; style-src {style}; img-src {pictures}; base-uri 'none'; "
        "form-action 'none'"
    )


@cache
def _part(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8").strip()


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _card(feature: dict[str, Any], preview: str, public_url: str) -> dict[str, Any]:
    """What the page shows of an item, as plain texts."""
    properties = feature["properties"]
    variables = properties["cube:variables"]
    shown = [
        {
            "name": name,
            "means": told.get("description") or told.get("cf:standard_name", ""),
            "unit": told.get("unit", ""),
        }
        for name, told in list(variables.items())[:TOLD]
    ]
    names = [*variables, *(told.get("cf:standard_name", "") for told in variables.values())]
    return {
        "id": feature["id"],
        "title": properties.get("title") or believed.address_of(feature),
        "description": properties.get("description", ""),
        "address": believed.address_of(feature),
        "keywords": properties["keywords"],
        "variables": shown,
        "more": max(0, len(variables) - TOLD),
        "start": properties.get("start_datetime", ""),
        "end": properties.get("end_datetime", ""),
        "area": feature.get("bbox", []),
        "owner": properties.get(believed.OWNER, ""),
        "licence": properties.get("license", ""),
        "citation": properties.get("sci:citation", ""),
        "sizes": ", ".join(f"{name} {told['size']:g}" for name, told in _sized(properties["cube:dimensions"])),
        "preview": preview,
        "how": _how(feature, public_url),
        "text": believed.searched(feature),
        "names": json.dumps([name for name in dict.fromkeys(names) if name]),
    }


def _sized(dimensions: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(name, told) for name, told in dimensions.items() if "size" in told]


def _how(feature: dict[str, Any], public_url: str) -> list[str]:
    """Lines of Python that open it; names in them are quoted as Python does, whatever they are."""
    url = believed.address_of(feature)
    lines = [f"appliance.data.catalogue()[{_quoted(url)}].open()"] if believed.kind_of(feature) != "files" else []
    if public_url:
        form = HTTPS[believed.kind_of(feature)]
        anonymous = f'{{"anon": True, "endpoint_url": {_quoted(public_url)}}}'
        if form:
            https = https_address(url, public_url)
            lines.append(form.format(https=https, s3=_quoted(url)[1:-1], anonymous=anonymous))
    return lines


def https_address(url: str, public_url: str) -> str:
    """Where everybody reads what lies at ``s3://bucket/key`` and is published."""
    address = S3Address.parse(url)
    return f"{public_url.rstrip('/')}/{quote(f'{address.bucket}/{address.key}')}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
