"""The picture of an array's chunks: whose they are, what is drawn, and what is no array of the facility's."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask_processes import field
from s3_endpoint import S3Endpoint
from table_map import HOSTS, TableMap, holders

import appliance.compute
from appliance.compute.reading import placement_access
from appliance.compute.reporting import chunk_map as chunk_map_module
from appliance.compute.reporting.chunk_picture import ChunkMap, HostChunks
from appliance.placement.colours import colour

ADDRESSES = {host: f"127.0.0.{host.removeprefix('host')}" for host in HOSTS}


@pytest.fixture(autouse=True)
def placed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = TableMap()
    monkeypatch.setattr(made, "addresses", ADDRESSES, raising=False)
    monkeypatch.setattr(placement_access, "maps", lambda: SimpleNamespace(get=lambda _bucket: made))


def keys_of(endpoint: S3Endpoint, prefix: str) -> list[str]:
    folder = endpoint.folder / "alice"
    return [str(path.relative_to(folder)) for path in (folder / prefix).rglob("*") if path.is_file()]


@pytest.mark.parametrize("opened", [{}, {"chunks": None}, {"chunks": {"time": 30}}, {"inline_array": True}])
def test_chunks_are_counted_at_the_hosts_of_their_objects(
    endpoint: S3Endpoint, dataset: str, opened: dict[str, Any]
) -> None:
    made = appliance.compute.chunk_map(xr.open_dataset(dataset, engine="zarr", **{"chunks": {}, **opened}).t)
    keys = keys_of(endpoint, "field.zarr/t/c")
    assert len(keys) == made.chunks == 24
    assert [row.host for row in made.hosts] == list(HOSTS)
    assert {row.host: row.chunks for row in made.hosts if row.chunks} == Counter(
        holders("alice", key)[0] for key in keys
    )
    assert {row.host: row.held for row in made.hosts} == Counter(h for key in keys for h in holders("alice", key))
    assert sum(row.bytes for row in made.hosts) == xr.open_zarr(dataset).t.nbytes
    assert made.name == "t in s3://alice/field.zarr/t"
    assert {row.workers for row in made.hosts} == {None}


def test_each_cell_has_the_colour_of_its_primarys_host(dataset: str) -> None:
    made = appliance.compute.chunk_map(xr.open_zarr(dataset))  # of one variable
    cells = list(ElementTree.fromstring(made._repr_svg_()))  # noqa: S314 - our own
    assert len(cells) == 24
    for number, cell in enumerate(cells):
        hosts = holders("alice", f"field.zarr/t/c/{number}/0/0")
        assert cell.get("fill") == colour(HOSTS.index(hosts[0]))
        assert cell[0].text == f"{number}/0/0: {', '.join(hosts)}"
    page = made._repr_html_()
    assert "24 chunks along time" in page
    assert all(f">{row.host}<" in page and f">{row.chunks}<" in page for row in made.hosts)
    assert "host12" in str(made)


def test_a_grid_is_drawn_along_its_longest_axes_and_thinned(dataset: str) -> None:
    source = chunk_map_module._stored(xr.open_zarr(dataset).t)[2]
    along = [range(3), range(200), range(100), range(1)]
    asked: list[tuple[int, ...]] = []

    def places(chunks: list[tuple[int, ...]]) -> list[tuple[tuple[str, ...], int]]:
        asked.extend(chunks)
        return [(("host11",), 1)] * len(chunks)

    cells, caption = chunk_map_module._drawn(chunk_map_module._Grid(source, along, places), ["level", "time", "y", "x"])
    assert (len(cells), len(cells[0])) == (34, 50)
    assert [place for row in cells for place, _ in row] == asked
    assert cells[1][2][0] == (0, 8, 3, 0)
    assert caption.startswith("y downward (100 chunks), time to the right (200); of level (3) the first chunk only")
    assert "first of several" in caption
    cells, caption = chunk_map_module._drawn(chunk_map_module._Grid(source, [range(10_000)], places), ["time"])
    assert sum(map(len, cells)) == 2500
    assert "first of several" in caption


def test_what_was_selected_before_chunking_is_what_is_drawn(dataset: str) -> None:
    part = xr.open_zarr(dataset, chunks=None).isel(time=slice(95, 205), y=5).chunk(time=50)
    made = appliance.compute.chunk_map(part.t)
    assert [place for row in made.cells for place, _ in row] == [(n, 0, 0) for n in range(9, 21)]


def test_chunks_of_unknown_and_of_no_place_are_told(monkeypatch: pytest.MonkeyPatch, dataset: str) -> None:
    array = xr.open_zarr(dataset).t
    monkeypatch.setattr(TableMap, "hosts", lambda _self, _bucket, keys: [()] * len(keys))
    made = appliance.compute.chunk_map(array)
    assert (made.unknown, made.chunks) == (24, 24)
    assert "not known" in made._repr_html_()

    # A virtual dataset: ranges of files, and a chunk that no file has.
    source = chunk_map_module._stored(array)[2]
    references = {f"field.zarr/t/c/{n}/0/0": (f"file{n % 2}.nc", 10 * n, 10) for n in range(1, 24)}
    virtual = SimpleNamespace(**{name: getattr(source, name) for name in ("bucket", "prefix", "chunks", "key")})
    virtual.references, virtual.chunk_bytes = references.get, 999
    ranges = SimpleNamespace(
        hosts_of_ranges=lambda _bucket, wanted: [((HOSTS[key == "file1.nc"], size),) for key, _, size in wanted]
    )
    monkeypatch.setattr(placement_access, "ranges", lambda: ranges)
    monkeypatch.setattr(chunk_map_module, "_stored", lambda _data: ("t", ["time"], virtual))
    made = appliance.compute.chunk_map(array)
    assert [(row.host, row.chunks, row.bytes) for row in made.hosts] == [
        ("host11", 11, 110),
        ("host12", 12, 120),
        ("host13", 0, 0),
    ]
    assert (made.absent, made.unknown) == (1, 0)
    assert made.name == "t in a virtual dataset of files in s3://alice"
    assert "no object" in made._repr_svg_()


def test_what_a_picture_shows_is_escaped() -> None:
    host = "<b>&host"
    made = ChunkMap("<b>name", (HostChunks(host, 1, 1, 1, None),), 0, 0, 1, ((((0,), (host,)),),), "<b>caption")
    page = ElementTree.fromstring(made._repr_html_())  # noqa: S314 - our own
    shown = "".join(page.itertext())
    assert all(text in shown for text in ("<b>name", "<b>caption", f"0: {host}"))
    assert [element.tag for element in page][:2] == ["b", "br"]


def test_workers_of_the_cluster_stand_in_the_legend(dataset: str) -> None:
    known = {"w1": {"host": "127.0.0.11"}, "w2": {"host": "127.0.0.11"}, "w3": {"host": "127.0.0.99"}}
    client = SimpleNamespace(scheduler_info=lambda n_workers: {"workers": known} if n_workers == -1 else {})
    made = appliance.compute.chunk_map(xr.open_zarr(dataset).t, client)
    assert [(row.host, row.workers) for row in made.hosts] == [("host11", 2), ("host12", 0), ("host13", 0)]
    assert "workers" in made._repr_html_()


def test_what_is_no_array_in_s3_is_refused_with_a_way_out(dataset: str, tmp_path: Any) -> None:
    opened = xr.open_zarr(dataset)
    field().to_zarr(tmp_path / "here.zarr")
    cases: list[tuple[Any, str]] = [
        (opened.t.load(), "'t' is in memory"),
        (np.ones(3), "'the array' is in memory"),
        (da.ones(10, chunks=5), "does not come from a Zarr array in S3"),
        (xr.open_zarr(tmp_path / "here.zarr").t, "'t' does not come from a Zarr array in S3"),
        (opened.assign(u=opened.t), r"the dataset has 't', 'u': chunk_map\(ds\[NAME\]\)"),
    ]
    for data, says in cases:
        with pytest.raises(ValueError, match=says):
            appliance.compute.chunk_map(data)


def test_arrays_that_are_calculated_from_several_are_refused(endpoint: S3Endpoint, dataset: str) -> None:  # noqa: ARG001
    field(seed=2).chunk(time=10).to_zarr("s3://alice/other.zarr", mode="w")
    both = xr.open_zarr(dataset).t - xr.open_zarr("s3://alice/other.zarr").t
    with pytest.raises(ValueError, match=r"from several arrays .*field\.zarr/t, s3://alice/other.zarr/t"):
        appliance.compute.chunk_map(both)


def test_elsewhere_than_in_the_facility_the_error_says_so(monkeypatch: pytest.MonkeyPatch, dataset: str) -> None:
    def unset() -> Any:
        raise KeyError("APPLIANCE_PLACEMENT_URL")

    monkeypatch.setattr(placement_access, "maps", unset)
    with pytest.raises(ValueError, match="APPLIANCE_PLACEMENT_URL is not set"):
        appliance.compute.chunk_map(xr.open_zarr(dataset).t)
