"""What is believed of items that somebody else may have written: made anew of what was checked, and of nothing else.

With the standard library alone: the hub's machine reads items too, in an environment without xarray.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from appliance.placement.model.s3_address import S3Address

ITEMS = ".catalogue/items.json"  # all of a bucket's items, for its owner
PUBLISHED = ".catalogue/published.json"  # those that everybody may read
PREVIEWS = ".catalogue/previews"
DATA = "data"  # the asset that is the dataset
PREVIEW = "thumbnail"  # STAC's word for the asset and for its role
# How a dataset is opened, with the media type of its asset: registered ones, and Zarr's as its community writes it.
KINDS = {
    "zarr": "application/vnd.zarr",
    "kerchunk": "application/vnd.zarr+kerchunk",
    "icechunk": "application/vnd.zarr+icechunk",
    "netcdf": "application/x-netcdf",
    "files": "inode/directory",  # any files below an address
}
SAID = "appliance:said"  # the property that names those that its owner gave, and not the dataset
FILES = "appliance:files"  # the property that names the files of the same bucket to which it refers, by their keys
OWNER = "appliance:owner"  # the property of a collected item that names the bucket's owner, as the S3 gateway knows it
TEXT_MAX = 4000  # characters of one text
NAMES_MAX = 1000  # variables, dimensions and words of one item
NUMBERS_MAX = 16  # dimensions of one variable
EXTENSIONS = (
    "https://stac-extensions.github.io/datacube/v2.3.0/schema.json",
    "https://stac-extensions.github.io/xarray-assets/v1.0.0/schema.json",
    "https://stac-extensions.github.io/scientific/v1.0.0/schema.json",
)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,79}")
_BUCKET = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
_TIME = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\dZ", re.ASCII)
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")  # SPDX's identifiers, and STAC's "other"
_TEXTS = ("title", "description", "sci:citation")
_TIMES = ("datetime", "start_datetime", "end_datetime", "created", "updated")


def text(value: object) -> str:
    """A text without what is no character, and no longer than ``TEXT_MAX``."""
    # Of the separators that are not printable only these: others (RIGHT-TO-LEFT OVERRIDE) show a name as another one.
    return "".join(c for c in str(value)[: 2 * TEXT_MAX] if c.isprintable() or c in "\n\t")[:TEXT_MAX].strip()


def features(document: bytes, bucket: str | None) -> list[dict[str, Any]]:
    """The items of a bucket, from its ``ITEMS`` or ``PUBLISHED``, in the order of their addresses.

    What is no item of data in this bucket is left out, and what an item has beside the fields that are known. Whoever
    wrote it, all that comes back has the form of a STAC item, and no text is longer than ``TEXT_MAX``.

    Args:
        document: what is there.
        bucket: in which it is; None for what the facility has collected of all buckets, with their owners.
    """
    try:
        listed = listed_in(document)
    except ValueError:
        return []
    found: dict[str, dict[str, Any]] = {}
    for feature in listed:
        if (one := feature_of(feature, bucket)) is not None:
            found[address_of(one)] = one
    return [found[address] for address in sorted(found)]


def listed_in(document: bytes) -> list[Any]:
    """What a collection lists, as it stands there. Raises ``ValueError`` where it is none."""
    try:
        told = json.loads(document)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    listed = told.get("features") if isinstance(told, dict) else None
    if not isinstance(listed, list):
        raise ValueError("is no collection of items")
    return listed


def address_of(feature: dict[str, Any]) -> str:
    """Where an item's dataset lies, ``s3://bucket/key``."""
    address: str = feature["assets"][DATA]["href"]
    return address


def kind_of(feature: dict[str, Any]) -> str:
    """How an item's dataset is opened: one of ``KINDS``."""
    return next(kind for kind, media in KINDS.items() if media == feature["assets"][DATA]["type"])


def feature_of(told: Any, bucket: str | None) -> dict[str, Any] | None:
    """An item, made anew; None where it is none of data in this bucket."""
    if not isinstance(told, dict) or not _matches(_ID, told.get("id")):
        return None
    asset = _dict(_dict(told.get("assets")).get(DATA))
    address = S3Address.find(asset["href"]) if isinstance(asset.get("href"), str) else None
    kind = next((kind for kind, media in KINDS.items() if media == asset.get("type")), None)
    if address is None or kind is None or not _BUCKET.fullmatch(address.bucket) or not is_plain(address.key):
        return None
    if bucket is not None and address.bucket != bucket:
        return None
    properties = _properties(_dict(told.get("properties")))
    if bucket is None and _matches(_BUCKET, owner := _dict(told.get("properties")).get(OWNER)):
        properties[OWNER] = owner
    area = box(told.get("bbox"))
    made: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": told["id"],
        "geometry": polygon(area) if area else None,
        "properties": properties,
        "links": [],
        "assets": {DATA: {"href": str(address), "type": KINDS[kind], "roles": ["data"]}},
    }
    if area:
        made["bbox"] = list(area)
    if kind in ("zarr", "kerchunk"):
        made["assets"][DATA]["xarray:open_kwargs"] = {"engine": kind, "chunks": {}}
    preview = f"s3://{address.bucket}/{PREVIEWS}/{told['id']}.png"
    if _dict(_dict(told.get("assets")).get(PREVIEW)).get("href") == preview:
        made["assets"][PREVIEW] = {"href": preview, "type": "image/png", "roles": [PREVIEW]}
    return made


def _is_key(value: Any) -> bool:
    return isinstance(value, str) and is_plain(value)


def is_bucket(name: str) -> bool:
    """Whether it is the name of a bucket of which items are believed."""
    return _BUCKET.fullmatch(name) is not None


def licence(value: Any) -> str | None:
    """An identifier of a licence, as SPDX has them; None for anything else."""
    return value if _matches(_LICENCE, value) else None


def is_plain(key: str) -> bool:
    """Whether a key is one that nothing on the way to it reads as another."""
    return key.isprintable() and len(key) <= 1024 and all(part not in ("", ".", "..") for part in key.split("/"))


def _properties(told: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {name: text(told[name]) for name in _TEXTS if isinstance(told.get(name), str)}
    made |= {name: told[name] for name in _TIMES if _matches(_TIME, told.get(name))}
    if not {"start_datetime", "end_datetime"} <= set(made):
        made = {name: value for name, value in made.items() if name not in ("start_datetime", "end_datetime")}
    made.setdefault("datetime", None if "start_datetime" in made else "1970-01-01T00:00:00Z")
    if licence(told.get("license")):
        made["license"] = told["license"]
    files = told.get(FILES)
    made[FILES] = [one for one in files[:NAMES_MAX] if _is_key(one)] if isinstance(files, list) else []
    words = told.get("keywords")
    made["keywords"] = [text(one) for one in words[:100] if isinstance(one, str)] if isinstance(words, list) else []
    said = told.get(SAID)
    made[SAID] = [one for one in ("title", "description", "keywords") if isinstance(said, list) and one in said]
    made["cube:dimensions"] = _named(told.get("cube:dimensions"), _dimension)
    made["cube:variables"] = _named(told.get("cube:variables"), _variable)
    return made


def _named(told: Any, one: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    listed = list(_dict(told).items())[:NAMES_MAX]
    return {text(name): one(value) for name, value in listed if isinstance(value, dict) and text(name)}


def _dimension(told: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "other"} | _texts(told, ("type",))
    if told.get("axis") in ("x", "y", "z"):
        made["axis"] = told["axis"]
    extent = told.get("extent")
    if isinstance(extent, list) and len(extent) == 2 and (all(map(_number, extent)) or all(map(is_time, extent))):
        made["extent"] = extent
    if _number(told.get("size")):
        made["size"] = told["size"]
    if told.get("reference_system") == 4326:
        made["reference_system"] = 4326
    return made | _texts(told, ("unit",))


def _variable(told: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "data" if told.get("type") == "data" else "auxiliary"}
    dimensions, shape = told.get("dimensions"), told.get("shape")
    named = [one for one in dimensions if isinstance(one, str)] if isinstance(dimensions, list) else []
    made["dimensions"] = [text(one) for one in named[:NUMBERS_MAX]]
    made["shape"] = [one for one in shape[:NUMBERS_MAX] if _number(one)] if isinstance(shape, list) else []
    return made | _texts(told, ("unit", "description", "cf:standard_name", "data_type"))


def _texts(told: dict[str, Any], names: tuple[str, ...]) -> dict[str, str]:
    return {name: text(told[name]) for name in names if isinstance(told.get(name), str)}


def box(told: Any) -> tuple[float, float, float, float] | None:
    """West, south, east, north in degrees; None where it is no area of the Earth."""
    if not isinstance(told, list) or len(told) != 4 or not all(map(_number, told)):
        return None
    west, south, east, north = told
    sound = -180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90
    return (west, south, east, north) if sound else None


def _number(value: Any) -> bool:
    """Whether JSON and a float both hold it."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def is_time(value: Any) -> bool:
    """Whether it is a moment as items write it."""
    return _matches(_TIME, value)


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def polygon(box: tuple[float, float, float, float]) -> dict[str, Any]:
    """The box as GeoJSON, in two parts where it crosses the 180th meridian (RFC 7946, 3.1.9)."""
    west, south, east, north = box
    spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    rings = [[[[w, south], [e, south], [e, north], [w, north], [w, south]]] for w, e in spans]
    if len(rings) == 1:
        return {"type": "Polygon", "coordinates": rings[0]}
    return {"type": "MultiPolygon", "coordinates": rings}


def document(listed: list[dict[str, Any]]) -> bytes:
    """A STAC ItemCollection as it is kept."""
    return json.dumps(
        {"type": "FeatureCollection", "features": listed}, separators=(",", ":"), allow_nan=False
    ).encode()


# Search


def spans_of(box: list[float]) -> Iterator[tuple[float, float]]:
    """The longitudes of a box, in two parts where it crosses the 180th meridian."""
    if box[0] <= box[2]:
        yield box[0], box[2]
    else:
        yield box[0], 180.0
        yield -180.0, box[2]


def is_found(
    feature: dict[str, Any],
    words: list[str],
    time: tuple[str, str] | None,
    box: list[float] | None,
    variable: str | None,
) -> bool:
    """Whether an item is what is searched for: page.js does the same.

    Args:
        feature: as ``features`` returns it.
        words: each is a part of one of the item's texts, whatever the case.
        time: first and last moment (RFC 3339, UTC) of a span that the item's overlaps.
        box: west, south, east, north of an area that the item's overlaps.
        variable: the name of a variable, or its standard name.
    """
    properties = feature["properties"]
    if words:
        known = searched(feature)
        if not all(word.casefold() in known for word in words):
            return False
    if time:
        if "start_datetime" not in properties:
            return False
        if properties["start_datetime"] > time[1] or properties["end_datetime"] < time[0]:
            return False
    if box:
        own = feature.get("bbox")
        if own is None or own[1] > box[3] or own[3] < box[1]:
            return False
        if not any(w1 <= e2 and w2 <= e1 for w1, e1 in spans_of(own) for w2, e2 in spans_of(box)):
            return False
    variables = properties["cube:variables"]
    return not variable or variable in variables or variable in {v.get("cf:standard_name") for v in variables.values()}


def searched(feature: dict[str, Any]) -> str:
    """All texts of an item in which words are looked for."""
    properties = feature["properties"]
    texts = [feature["assets"][DATA]["href"], *(properties.get(name, "") for name in _TEXTS), *properties["keywords"]]
    for name, told in properties["cube:variables"].items():
        texts += [name, told.get("cf:standard_name", ""), told.get("description", "")]
    return "\n".join(texts).casefold()
