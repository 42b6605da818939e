"""Items of the catalogue, made for tests without a dataset, and hostile ones."""

from __future__ import annotations

import copy
import re
from typing import Any

from appliance.data.cataloguing import believed

WORDS = '"><script>document.title = "run"</script><img src=x onerror="document.title = 1">'


def item(url: str = "s3://alice/north.zarr", kind: str = "zarr", **properties: Any) -> dict[str, Any]:
    """An item as a bucket keeps it."""
    told = {
        "id": re.sub(r"[^A-Za-z0-9]+", "-", url.rpartition("/")[2]).strip("-"),
        "bbox": [-30.0, 30.0, 10.0, 50.0],
        "properties": {
            "title": "North Atlantic",
            "start_datetime": "2000-01-01T00:00:00Z",
            "end_datetime": "2000-01-03T00:00:00Z",
            "cube:variables": {"sst": {"type": "data", "cf:standard_name": "sea_surface_temperature", "unit": "K"}},
            "cube:dimensions": {"time": {"type": "temporal", "size": 3}},
            **properties,
        },
        "assets": {"data": {"href": url, "type": believed.KINDS[kind]}},
    }
    (made,) = believed.features(believed.document([told]), url.split("/")[2])
    return made


def with_value(told: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """The same with another value at a place."""
    made = copy.deepcopy(told)
    at = made
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    return made
