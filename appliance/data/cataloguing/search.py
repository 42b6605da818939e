"""The catalogue as a notebook sees it: searched, and opened."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import fsspec

from appliance.compute.reading.scratch import SUFFIX
from appliance.data import DataError
from appliance.data.cataloguing import believed, kept
from appliance.placement.model.s3_address import S3Address

if TYPE_CHECKING:
    import pystac
    import xarray as xr

# What the facility has collected of all buckets: role `catalogue`.
COLLECTED_BUCKET = "appliance-catalogue"
COLLECTED = "catalogue.json"
TOLD = 12  # datasets of a list that is told
_FIRST, _LAST = "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"


@dataclass(frozen=True)
class Entry:
    """One dataset of the catalogue.

    Attributes:
        feature: its STAC item, checked.
        published: whether everybody may read it.
    """

    feature: dict[str, Any]
    published: bool

    @property
    def address(self) -> str:
        """Where it lies, ``s3://bucket/name``."""
        return believed.address_of(self.feature)

    @property
    def title(self) -> str:
        """What its owner calls it."""
        return str(self.feature["properties"].get("title", ""))

    @property
    def variables(self) -> list[str]:
        """The names of its variables."""
        return list(self.feature["properties"]["cube:variables"])

    @property
    def item(self) -> pystac.Item:
        """It as a STAC item, for other programs."""
        import pystac

        return pystac.Item.from_dict(self.feature)

    def open(self, **options: Any) -> xr.Dataset:
        """Open it lazily; ``options`` of ``xr.open_zarr``. Raises as ``opening.open_dataset``."""
        from appliance.data.cataloguing.opening import open_dataset

        return open_dataset(self.address, believed.kind_of(self.feature), **options)

    def cells(self) -> tuple[str, str, str, str, str]:
        """Return title, address, variables, time, and whether it is published: texts that others may have written."""
        properties = self.feature["properties"]
        names = self.variables
        more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
        span = ""
        if "start_datetime" in properties:
            span = f"{properties['start_datetime'][:10]} to {properties['end_datetime'][:10]}"
        return self.title, self.address, ", ".join(names[:TOLD]) + more, span, "yes" if self.published else "no"


class Catalogue(Sequence[Entry]):
    """Datasets, in the order of their addresses. A notebook shows a table of them."""

    def __init__(self, entries: Sequence[Entry]):
        self._entries = list(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: Any) -> Any:
        """One entry by its number or its address; a catalogue of several by a slice."""
        if isinstance(index, str):
            found = [one for one in self._entries if one.address == index.rstrip("/")]
            if not found:
                raise KeyError(f"{index} is not in the catalogue; `appliance data record {index}` puts your own there")
            return found[0]
        return Catalogue(self._entries[index]) if isinstance(index, slice) else self._entries[index]

    def search(
        self,
        words: str = "",
        *,
        time: str | datetime | tuple[Any, Any] | None = None,
        area: Sequence[float] | None = None,
        variable: str | None = None,
    ) -> Catalogue:
        """Return the datasets that are all of what is asked.

        Args:
            words: parts of words of titles, descriptions, addresses, or names of variables; all must be there.
            time: a year, month, day or moment in UTC ("1990", "1990-07"), or the first and the last one of a span, each
                of which may be None. Datasets whose times overlap it are found.
            area: west, south, east, north in degrees, from -180 to 180; west is greater than east across the 180th
                meridian. Datasets whose area overlaps it are found.
            variable: the name of a variable or its standard name, exactly.

        Raises:
            DataError: time or area are none.
        """
        span = None if time is None else _span(time)
        box = None if area is None else _box(area)
        entries = [e for e in self._entries if believed.is_found(e.feature, words.split(), span, box, variable)]
        return Catalogue(entries)

    def open(self, **options: Any) -> xr.Dataset:
        """Open the one dataset that there is; ``options`` of ``xr.open_zarr``.

        Raises:
            DataError: there is none, or several: the message names them.
            OSError: it is gone, or S3 refuses.
        """
        if not self._entries:
            raise DataError(
                "the catalogue has no such dataset: search for less; `appliance.data.catalogue()` shows all"
            )
        if len(self._entries) > 1:
            named = ", ".join(one.address for one in self._entries[:TOLD])
            more = f" and {len(self._entries) - TOLD} more" if len(self._entries) > TOLD else ""
            raise DataError(f'{len(self._entries)} datasets are found: take one of them by ["s3://…"]: {named}{more}')
        return self._entries[0].open(**options)

    def items(self) -> pystac.ItemCollection:
        """All of them as STAC items, for other programs."""
        import pystac

        return pystac.ItemCollection([one.item for one in self._entries])

    def __repr__(self) -> str:
        rows = [" | ".join(" ".join(cell.split()) for cell in one.cells()) for one in self._entries]
        return "\n".join([f"{len(rows)} datasets: title | address | variables | time | published", *rows])

    def _repr_html_(self) -> str:
        heads = "".join(f"<th>{head}</th>" for head in ("title", "address", "variables", "time", "published"))
        rows = [
            "<tr>" + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in one.cells()) + "</tr>"
            for one in self._entries
        ]
        return f"<table><tr>{heads}</tr>{''.join(rows)}</table>"


def catalogue() -> Catalogue:
    """Return the datasets of your own buckets, and those that others have published.

    Others' are as the facility collected them last, at most a minute ago.

    Raises:
        OSError: S3 cannot be reached.
    """
    found = {believed.address_of(one): Entry(one, published=True) for one in _collected()}
    own = own_buckets()
    for address in [address for address in found if S3Address.parse(address).bucket in own]:
        del found[address]
    with ThreadPoolExecutor(8) as threads:
        for listed in threads.map(_own, own):
            found |= {one.address: one for one in listed}
    return Catalogue([found[address] for address in sorted(found)])


def own_buckets() -> list[str]:
    """The names of the caller's buckets."""
    return sorted(str(name).strip("/") for name in fsspec.filesystem("s3").ls("", detail=False))


def _own(bucket: str) -> Iterator[Entry]:
    published = {believed.address_of(one) for one in _features(bucket, believed.PUBLISHED)}
    recorded = [Entry(one, believed.address_of(one) in published) for one in _features(bucket, believed.ITEMS)]
    if recorded and bucket.endswith(SUFFIX):  # what is recorded may have expired
        there = set(fsspec.filesystem("s3").ls(bucket, detail=False))
        recorded = [one for one in recorded if "/".join(one.address.split("/")[2:4]) in there]
    return iter(recorded)


def _features(bucket: str, key: str) -> list[dict[str, Any]]:
    return believed.features(kept.read(bucket, key) or b"", bucket)


def _collected() -> list[dict[str, Any]]:
    return believed.features(kept.read(COLLECTED_BUCKET, COLLECTED) or b"", None)


def _span(time: Any) -> tuple[str, str]:
    first, last = time if isinstance(time, tuple) else (time, time)
    return _moment(first, _FIRST), _moment(last, _LAST)


def _moment(value: Any, padding: str) -> str:
    """A moment as items write it; what is left open at its end is that of ``padding``.

    A day that no month has is never compared with but as text: nothing lies behind the 31st.
    """
    if value is None:
        return padding
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = str(value).replace(" ", "T").removesuffix("Z")[:19]
    whole = text + padding[len(text) :]
    if len(text) not in (4, 7, 10, 13, 16, 19) or not believed.is_time(whole):
        raise DataError(f"{value!r} is no time: write a year, a month or a day as 1990, 1990-07, 1990-07-31")
    return whole


def _box(area: Sequence[float]) -> list[float]:
    box = believed.box([*map(float, area)])
    if box is None:
        raise DataError(f"{list(area)} is no area: write (west, south, east, north), longitudes from -180 to 180")
    return list(box)
