"""What is published as a static STAC catalog: files with links, which STAC's clients walk without a server of its own.

By the STAC specification 1.1.0, "Static Catalogs": a catalog, a collection for each bucket, and a file for each item.
Links are relative, so that it can be copied as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from appliance.data.cataloguing import believed
from appliance.data.cataloguing.page import https_address
from appliance.placement.model.s3_address import S3Address

FOLDER = "stac"
ROOT = f"{FOLDER}/catalog.json"


def static_catalog(features: list[dict[str, Any]], public_url: str) -> Iterator[tuple[str, str, bytes]]:
    """Write it: the name, media type and content of each file.

    Args:
        features: items in the order of their addresses, as ``believed.features`` returns them.
        public_url: where everybody reads what is published, ``https://NAME``: the items' files are given by it.
    """
    buckets = []
    for bucket, listed in groupby(features, key=lambda one: S3Address.parse(believed.address_of(one)).bucket):
        items = {one["id"]: one for one in listed}
        buckets.append(bucket)
        yield _file(f"{bucket}/collection.json", _collection(bucket, list(items.values())))
        for name, one in items.items():
            yield _file(f"{bucket}/items/{name}.json", _item(bucket, one, public_url), "application/geo+json")
    links = [_link("root", "./catalog.json")] + [_link("child", f"./{bucket}/collection.json") for bucket in buckets]
    about = {"id": "published", "title": "Published datasets", "description": "Published datasets, by bucket"}
    yield _file("catalog.json", {"type": "Catalog", "stac_version": "1.1.0", **about, "links": links})


def _file(name: str, told: dict[str, Any], media: str = "application/json") -> tuple[str, str, bytes]:
    return f"{FOLDER}/{name}", media, json.dumps(told, separators=(",", ":"), allow_nan=False).encode()


def _link(rel: str, href: str, media: str = "application/json") -> dict[str, str]:
    return {"rel": rel, "href": href, "type": media}


def _collection(bucket: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    properties = [one["properties"] for one in items]
    starts = [told["start_datetime"] for told in properties if "start_datetime" in told]
    ends = [told["end_datetime"] for told in properties if "end_datetime" in told]
    areas = [one["bbox"] for one in items if "bbox" in one]
    # The first box is of all (STAC's extent object); of what lies across the 180th meridian that is all longitudes.
    across = any(west > east for west, _, east, _ in areas)
    west, south, east, north = zip(*areas, strict=True) if areas else ([-180.0], [-90.0], [180.0], [90.0])
    box = [-180.0 if across else min(west), min(south), 180.0 if across else max(east), max(north)]
    licences = {told.get("license", "other") for told in properties}
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": bucket,
        "description": f"What is published of s3://{bucket}",
        "license": licences.pop() if len(licences) == 1 else "other",
        "extent": {
            "spatial": {"bbox": [box]},
            "temporal": {"interval": [[min(starts, default=None), max(ends, default=None)]]},
        },
        "links": [
            _link("root", "../catalog.json"),
            _link("parent", "../catalog.json"),
            *(_link("item", f"./items/{one['id']}.json", "application/geo+json") for one in items),
        ],
    }


def _item(bucket: str, feature: dict[str, Any], public_url: str) -> dict[str, Any]:
    assets = {
        name: {**asset, "href": https_address(asset["href"], public_url)} for name, asset in feature["assets"].items()
    }
    links = [
        _link("root", "../../catalog.json"),
        _link("parent", "../collection.json"),
        _link("collection", "../collection.json"),
    ]
    return {**feature, "collection": bucket, "assets": assets, "links": links}
