"""The places of the locality benchmark's table, and the data that each reads."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

WORKLOADS = ("mean", "series", "rechunk", "climatology", "difference", "rolling", "hot", "slow")
NICS = ("none", "200mbit", "1gbit")
CHUNKS_MIB = (8, 1, 32)
FORMATS = ("zarr", "netcdf")
SEEDS = {"first": 37.719, "second": 12.345}


@dataclass(frozen=True)
class Place:
    """One place in the table: what is computed, on which data, over which network."""

    workload: str
    nic: str
    chunk_mib: int
    format: str = "zarr"


@dataclass(frozen=True)
class Data:
    """A dataset in the researcher's bucket. All of a ``name`` hold the same values, whatever chunks and format."""

    name: str
    chunk_mib: int
    format: str
    total_mib: int

    @property
    def url(self) -> str:
        """Its address: of a Zarr group, or of the description of NetCDF files."""
        ending = "zarr" if self.format == "zarr" else "json"
        return f"s3://alice/bench/{self.total_mib}mib-{self.chunk_mib}-{self.name}.{ending}"


# Places that take turns run by run, so that what they are compared for is measured at the same time.
Group = tuple[Place, ...]
FORMATS_SIDE_BY_SIDE: Group = tuple(Place("mean", "none", 8, format) for format in FORMATS)


def quick() -> list[Group]:
    """Return the subset for regular use: the places that the promised figures are of."""
    alone = (Place("mean", "200mbit", 8), Place("series", "none", 8), Place("rechunk", "none", 8))
    return [FORMATS_SIDE_BY_SIDE, *((place,) for place in alone)]


def full() -> list[Group]:
    """Return every place of the table, the most telling first: the quick ones, then those that differ least from them.

    A table that is stopped early so has all workloads at 8 MiB in Zarr before other chunks and formats.
    """
    first = quick()
    done = set(itertools.chain(*first))
    # Of each axis the commonest value comes first; a place is as far off as its values are, summed.
    places = [Place(*values) for values in itertools.product(WORKLOADS, NICS, CHUNKS_MIB, FORMATS)]

    def distance(place: Place) -> int:
        return NICS.index(place.nic) + 2 * CHUNKS_MIB.index(place.chunk_mib) + 2 * FORMATS.index(place.format)

    return [*first, *((place,) for place in sorted(places, key=distance) if place not in done)]


def data_of(place: Place, total_mib: int) -> list[Data]:
    """Return the datasets that a place reads: of ``total_mib``, or a quarter of it in chunks of 1 MiB.

    There are twice as many chunks as in 8 MiB all the same, and it is their number that takes the time.
    """
    names = ("first", "second") if place.workload == "difference" else ("first",)
    size = total_mib // 4 if place.chunk_mib == 1 else total_mib
    return [Data(name, place.chunk_mib, place.format, size) for name in names]
