"""Datasets put into the catalogue, and taken out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import xarray as xr

from appliance.data import DataError
from appliance.data.cataloguing import believed, kept
from appliance.data.cataloguing.items import item_of
from appliance.data.cataloguing.opening import open_dataset
from appliance.data.cataloguing.preview import preview as picture
from appliance.data.cataloguing.search import Entry
from appliance.placement.model.s3_address import S3Address

# What stays where a dataset is recorded again.
STAY = ("license", "sci:citation", "created")


def record(
    url: str,
    kind: str | None = None,
    dataset: xr.Dataset | None = None,
    *,
    title: str = "",
    description: str = "",
    keywords: Sequence[str] = (),
    preview: bool = True,
) -> Entry:
    """Put a dataset into the catalogue of its bucket, in place of what stood there of it.

    The catalogue of a bucket is for its owner alone until something is published.

    Args:
        url: ``s3://bucket/name``.
        kind: "zarr", "kerchunk", "icechunk" or "netcdf", or "files" for a folder of any files; by the address if None.
        dataset: as readers would open it; opened here if None.
        title: what it is called, by default its attribute ``title`` or what was said before.
        description: a sentence or two, by default its attribute ``summary`` or what was said before.
        keywords: more words by which it is found.
        preview: whether a picture is made, for which one field is read.

    Returns:
        its entry.

    Raises:
        DataError: the kind is unknown, or it is no dataset.
        OSError: S3 cannot be reached, or refuses.
    """
    address = S3Address.parse(url.rstrip("/"))
    if address.key.split("/")[0] == believed.ITEMS.split("/")[0]:
        raise DataError(f"{url}: is the catalogue's own: name a dataset")
    kind = kind or kind_by_name(str(address))
    opened = xr.Dataset() if kind == "files" else dataset
    if opened is None:
        opened = open_dataset(str(address), kind)
    item = item_of(opened, str(address), kind, title=title, description=description, keywords=tuple(keywords))
    told: dict[str, Any] = item.to_dict(include_self_link=False)
    drawn = picture(opened) if preview else None
    name = preview_key(item.id)
    if drawn:
        told["assets"][believed.PREVIEW] = {"href": f"s3://{address.bucket}/{name}", "type": "image/png"}
    # As everybody will read it: what would not be believed is not written.
    made = believed.features(believed.document([told]), address.bucket)
    if not made:
        raise DataError(f"{address}: cannot stand in a catalogue: its name has empty parts, dots or control characters")
    if drawn:
        kept.write(address.bucket, name, drawn, "image/png")
    words = {"title": title, "description": description, "keywords": keywords}
    given = [name for name, value in words.items() if value]

    def put(items: dict[str, Any]) -> None:
        before = items.get(str(address), {}).get("properties", {})
        said = [name for name in before.get(believed.SAID, []) if name not in given]
        after = made[0]["properties"]
        after |= {name: before[name] for name in (*STAY, *said) if name in before}
        after[believed.SAID] = [*given, *said]
        items[str(address)] = made[0]

    kept.change(address.bucket, believed.ITEMS, put)
    return Entry(made[0], _renewed(address, made[0]))


def record_made(url: str, kind: str, tell: Callable[[str], None]) -> None:
    """Put what was just made into the catalogue. A fault of that takes nothing from the dataset: it is told."""
    try:
        record(url, kind)
    except Exception as error:
        tell(f"it is not in the catalogue yet: {error}; way out: `appliance data record {url} --kind {kind}`")


def _renewed(address: S3Address, feature: dict[str, Any]) -> bool:
    """Say the same to everybody of a dataset that is published; return whether it is."""
    shown = believed.features(kept.read(address.bucket, believed.PUBLISHED) or b"", address.bucket)
    if str(address) not in {believed.address_of(one) for one in shown}:
        return False

    def put(items: dict[str, Any]) -> None:
        if str(address) in items:  # else it was withdrawn meanwhile
            files = items[str(address)]["properties"][believed.FILES]
            told = {**feature["properties"], believed.FILES: files}
            items[str(address)] = {**feature, "properties": told}

    kept.change(address.bucket, believed.PUBLISHED, put)
    return True


def kind_by_name(url: str) -> str:
    """The kind that an address's ending tells. Raises ``DataError`` where it tells none."""
    endings = {".json": "kerchunk", ".zarr": "zarr", ".nc": "netcdf", ".nc4": "netcdf", ".icechunk": "icechunk"}
    for ending, kind in endings.items():
        if url.endswith(ending):
            return kind
    raise DataError(f"{url}: the name does not say what it is: say kind (--kind), one of {', '.join(believed.KINDS)}")


def preview_key(name: str) -> str:
    """Where the picture of an item lies in its bucket."""
    return f"{believed.PREVIEWS}/{name}.png"


def forget(url: str) -> None:
    """Take a dataset out of the catalogue of its bucket; the dataset stays.

    Raises:
        DataError: it is not there, or it is published.
        OSError: S3 cannot be reached, or refuses.
    """
    address = S3Address.parse(url.rstrip("/"))
    shown = believed.features(kept.read(address.bucket, believed.PUBLISHED) or b"", address.bucket)
    if str(address) in {believed.address_of(one) for one in shown}:
        raise DataError(f"{address}: is published: `appliance data withdraw {address}` first")
    gone: list[str] = []

    def take(items: dict[str, Any]) -> None:
        gone[:] = [items.pop(str(address))["id"]] if str(address) in items else []

    kept.change(address.bucket, believed.ITEMS, take)
    if not gone:
        raise DataError(f"{address}: is not in the catalogue")
    kept.delete(address.bucket, preview_key(gone[0]))
