"""Zarr datasets over HTTP(S): every chunk is fetched, or known to hold fill values, or named in an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import xarray as xr
import zarr
from archive import Archive, serving_archive
from click.testing import CliRunner
from copies import FORMATS, MADE, opened, quiet
from netcdf_files import year
from s3_endpoint import S3Endpoint

from appliance.cli import main
from appliance.data import DataError, compared, ingest, rechunk, zarr_elsewhere

pytestmark = pytest.mark.filterwarnings("ignore")
BEGAN = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
LATER = {"Last-Modified": "Fri, 01 Jan 2100 00:00:00 GMT"}
KINDS = pytest.mark.parametrize(("version", "consolidated"), [(2, True), (3, True), (2, False), (3, False)])


@pytest.fixture(autouse=True)
def archive(monkeypatch: pytest.MonkeyPatch, listed: Callable[..., None]) -> Iterator[Archive]:
    """Whose folder /pub/ the site lists."""
    monkeypatch.setattr(zarr_elsewhere, "WAITS", ())
    with serving_archive() as made:
        listed(made.url("/pub/"))
        yield made


def sparse() -> xr.Dataset:
    """Two years, of which one chunk of three holds nothing; and a variable and a group that need not be fetched."""
    found = year(1)
    found.t[4:8] = np.nan
    return found.assign({"ä b": found.t * 2})


def put(
    archive: Archive, folder: Path, version: int = 3, consolidated: bool = True, pages: bool = True, **options: Any
) -> Path:
    """Write a dataset to a folder, and all of it below /pub/x.zarr/; ``pages``: with lists of the folders."""
    encoding = {"t": {"chunks": (4, 6, 8), **options}, "ä b": {"chunks": (12, 3, 8)}}
    for group, dataset in ((None, sparse()), ("sub", year(2))):
        dataset.to_zarr(
            folder,
            group=group,
            mode="a",
            zarr_format=version,
            consolidated=False,
            encoding=encoding if group is None else {},
            write_empty_chunks=False,
        )
    if consolidated:
        zarr.consolidate_metadata(folder, zarr_format=version)
    served(archive, folder, pages)
    return folder


def served(archive: Archive, folder: Path, pages: bool) -> None:
    for path in (folder, *folder.rglob("*")):
        where = quote(f"/pub/x.zarr{str(path).removeprefix(str(folder))}")
        if path.is_file():
            archive.files[where] = path.read_bytes()
        elif pages:
            links = "".join(f'<a href="{quote(each.name)}{"/" * each.is_dir()}">…</a>' for each in path.iterdir())
            page = f'<html><a href="../">up</a><a href="?C=N;O=D">Name</a>{links}</html>'.encode()
            told = {"Content-Length": str(len(page)), "Content-Type": "text/html"}
            archive.answers[f"{where}/"] = (200, told, page)


def chunk(archive: Archive, variable: str = "t") -> str:
    """The path of a chunk that is there."""
    ends = (".zarray", ".zattrs", "zarr.json")
    start = f"/pub/x.zarr/{quote(variable)}/"
    return min(path for path in archive.files if path.startswith(start) and not path.endswith(ends))


@FORMATS
@KINDS
def test_a_dataset_elsewhere_is_copied_as_xarray_has_it(
    endpoint: S3Endpoint, archive: Archive, tmp_path: Path, kind: str, version: int, consolidated: bool
) -> None:
    folder, told = put(archive, tmp_path / "x.zarr", version, consolidated, pages=not consolidated), list[str]()
    url = archive.url("/pub/x.zarr")
    assert ingest(url, MADE, format=kind, check="all", tell=told.append) == MADE
    with xr.open_zarr(folder, consolidated=consolidated) as truth:
        xr.testing.assert_identical(opened(kind).load(), truth.load())
    assert [path for path in archive.asked if "/sub/" in path and "/t/" in path] == []
    assert len({*archive.asked}) == len(archive.asked) - (1 if consolidated else len(metadata(archive)))
    assert [name for name in endpoint.objects() if ".ingest" in name] == []
    assert f"{url}: variable 't': 1 of its 3 chunks are not there, and hold its fill value" in told
    assert (
        f"{url}: has no consolidated metadata; by the server's own list of the folder it has the variables "
        "lat, t, time, x, ä b" in told
    ) is not consolidated


def metadata(archive: Archive) -> set[str]:
    """The paths of the metadata that were asked for and are there."""
    return {path for path in archive.asked if path.endswith((".zgroup", ".zarray", ".zattrs", "zarr.json"))} & {
        *archive.files
    }


@KINDS
def test_a_group_and_some_of_its_variables_are_fetched_alone(
    archive: Archive, tmp_path: Path, version: int, consolidated: bool
) -> None:
    put(archive, tmp_path / "x.zarr", version, consolidated)
    ingest(archive.url("/pub/x.zarr/"), MADE, group="sub", drop=["t"], tell=quiet)
    assert set(opened("zarr").variables) == {"lat", "time", "x"}
    chunks = {path for path in archive.asked if not path.endswith((*("zarr.json", ".zmetadata"), "/"))}
    assert not any(path.startswith("/pub/x.zarr/sub/t/c/") or path.endswith("/sub/t/0.0.0") for path in chunks)
    assert any(path.startswith("/pub/x.zarr/sub/lat/") for path in chunks)


def test_shards_are_fetched_whole_and_several_datasets_are_joined(archive: Archive, tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / f"{number}.zarr"
        year(number).to_zarr(folder, zarr_format=3, encoding={"t": {"chunks": (2, 6, 8), "shards": (4, 6, 8)}})
        served(archive, folder, pages=False)
        for path in [path for path in archive.files if "/x.zarr/" in path]:
            archive.files[path.replace("/x.zarr/", f"/{number}.zarr/")] = archive.files.pop(path)
    told: list[str] = []
    rechunk(archive.url("/pub/1.zarr"), "s3://alice/one", tell=told.append)
    assert not any("not there" in line for line in told)
    ingest([archive.url(f"/pub/{number}.zarr") for number in (2, 1)], MADE, tell=quiet)
    xr.testing.assert_equal(opened("zarr").load(), xr.concat([year(1), year(2)], "time", data_vars="minimal"))
    xr.testing.assert_equal(opened("zarr", "s3://alice/one").load(), year(1))


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (403, DataError, r"wants a log-in, or refuses \(403"),
        (410, DataError, r"is not there, or not as a file \(410"),
        (500, OSError, r"the server has a fault, or too much to do \(500"),
        (503, OSError, r"the server has a fault, or too much to do \(503"),
    ],
)
def test_a_chunk_that_is_kept_away_is_named_and_no_value_is_made_up(
    endpoint: S3Endpoint, archive: Archive, tmp_path: Path, status: int, kind: type[Exception], message: str
) -> None:
    put(archive, tmp_path / "x.zarr")
    archive.answers[chunk(archive)] = (status, {"Content-Length": "0"}, b"")
    with pytest.raises(kind, match=rf"^{archive.url(chunk(archive))}: {message}"):
        ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet)
    left = endpoint.objects()
    assert all(".ingest-made.files" in name for name in left)
    assert bool(left) is (kind is OSError)


def test_a_chunk_whose_answer_breaks_off_or_does_not_come_is_named(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(archive, tmp_path / "x.zarr")
    archive.answers[chunk(archive)] = (200, {"Content-Length": "400"}, b"half")
    with pytest.raises(OSError, match=rf"^{archive.url(chunk(archive))}: the answer breaks off"):
        ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet)
    late = "http.client.HTTPConnection.getresponse"
    monkeypatch.setattr(late, lambda _: (_ for _ in ()).throw(TimeoutError("timed out")))
    with pytest.raises(OSError, match=rf"^{archive.url('/pub/x.zarr/zarr.json')}: the server does not answer \(timed"):
        ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet)


def test_a_server_that_has_a_fault_once_is_asked_again(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(archive, tmp_path / "x.zarr")
    archive.answers[chunk(archive)] = (503, {"Content-Length": "0"}, b"")
    monkeypatch.setattr(zarr_elsewhere, "WAITS", (0.0,))
    monkeypatch.setattr(zarr_elsewhere, "time", SimpleNamespace(sleep=lambda _: archive.answers.clear()))
    assert ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet) == MADE


@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_that_a_list_names_or_no_list_leaves_out_has_to_be_there(
    archive: Archive, tmp_path: Path, version: int
) -> None:
    put(archive, tmp_path / "x.zarr", version, consolidated=False)
    gone = chunk(archive)
    content = archive.files.pop(gone)
    said = rf"^{archive.url(gone)}: is not there \(404\), and nothing says that it may be missing"
    with pytest.raises(DataError, match=said):
        ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet)
    archive.files[gone] = content
    for page in [page for page in archive.answers if page.startswith("/pub/x.zarr/t/")]:
        archive.answers[page] = (403, {"Content-Length": "0"}, b"")
    with pytest.raises(DataError, match=r"/t/(c/)?1[./]0[./]0: is not there \(404\), and nothing says"):
        ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet)


def test_a_chunk_of_a_variable_without_a_fill_value_has_to_be_there(archive: Archive, tmp_path: Path) -> None:
    put(archive, tmp_path / "x.zarr", 2)
    whole = json.loads(archive.files["/pub/x.zarr/.zmetadata"])
    whole["metadata"]["t/.zarray"]["fill_value"] = None
    archive.files["/pub/x.zarr/.zmetadata"] = json.dumps(whole).encode()
    with pytest.raises(DataError, match=r"/t/1.0.0: is not there \(404\), and variable 't' has no fill value"):
        ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet)


def test_chunks_that_are_all_elsewhere_or_web_pages_are_none(
    endpoint: S3Endpoint, archive: Archive, tmp_path: Path
) -> None:
    put(archive, tmp_path / "x.zarr")
    page = (200, {"Content-Length": "6", "Content-Type": "text/html"}, b"log in")
    archive.answers[chunk(archive)] = page
    with pytest.raises(DataError, match=rf"^{archive.url(chunk(archive))}: is a web page"):
        ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet)
    archive.answers.clear()
    archive.files = {"/pub/x.zarr/zarr.json": archive.files["/pub/x.zarr/zarr.json"]}
    with pytest.raises(DataError, match=r"x.zarr: none of its 8 chunks is there"):
        ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet)
    assert endpoint.objects() == []


def test_a_chunk_that_leads_elsewhere_is_judged(archive: Archive, tmp_path: Path) -> None:
    put(archive, tmp_path / "x.zarr")
    archive.answers[chunk(archive)] = (302, {"Location": "/secret/0", "Content-Length": "0"}, b"")
    with pytest.raises(DataError, match=rf"^{archive.url(chunk(archive))}: leads to .*/secret/0, which is not in the"):
        ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet)
    assert "/secret/0" not in archive.asked


def test_metadata_that_name_what_is_not_below_the_dataset_are_refused(archive: Archive, tmp_path: Path) -> None:
    put(archive, tmp_path / "x.zarr")
    whole = json.loads(archive.files["/pub/x.zarr/zarr.json"])
    nodes = whole["consolidated_metadata"]["metadata"]
    nodes["../../secret/t"] = nodes["t"]
    archive.files["/pub/x.zarr/zarr.json"] = json.dumps(whole).encode()
    with pytest.raises(DataError, match=r"x.zarr: has '../../secret/t/zarr.json' in its metadata"):
        ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet)
    assert archive.asked == ["/pub/x.zarr/zarr.json"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/secret/x.zarr", r"zarr.json: is not in the site's list of what is fetched"),
        ("/pub/none.zarr", r"is no Zarr dataset: there is neither zarr.json nor .zmetadata nor .zgroup"),
        ("/pub/", r"is no Zarr dataset: there is neither"),
        ("/pub/x.zarr/t/", r"is an array, not a dataset"),
        ("/pub/x.zarr/sub/", r"has no consolidated metadata, and the server shows no list of its folder"),
        ("/pub/x.zarr/?key=1", r"an address with a query \(\?\) is that of a file"),
        ("/pub/page.zarr", r"page.zarr/zarr.json: is no JSON"),
    ],
)
def test_what_is_no_dataset_or_not_listed_is_told(
    endpoint: S3Endpoint, archive: Archive, tmp_path: Path, url: str, message: str
) -> None:
    put(archive, tmp_path / "x.zarr", pages=False)
    archive.files["/pub/page.zarr/zarr.json"] = b"<html>"
    with pytest.raises(DataError, match=rf"^{archive.url('/')}.*{message}"):
        ingest(archive.url(url), MADE, tell=quiet)
    assert not any(path.startswith("/secret") for path in archive.asked)
    assert endpoint.objects() == []


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("headers", [BEGAN, {}])
def test_an_interrupted_copy_goes_on_and_what_is_there_is_asked_for_again_where_it_may_have_changed(
    endpoint: S3Endpoint, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    archive.headers = headers
    put(archive, tmp_path / "x.zarr")
    with monkeypatch.context() as patch:
        patch.setattr(compared.Check, "file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet)
    archive.asked.clear()
    assert ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet) == MADE
    assert (chunk(archive) in archive.asked) is (not headers)
    xr.testing.assert_identical(opened("zarr").load(), xr.open_zarr(tmp_path / "x.zarr").load())
    assert [name for name in endpoint.objects() if ".ingest" in name] == []


@pytest.mark.parametrize("what", ["chunk", "metadata"])
def test_a_dataset_that_changes_while_it_is_fetched_is_refused(
    endpoint: S3Endpoint, archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    archive.headers = BEGAN
    put(archive, tmp_path / "x.zarr")
    path = chunk(archive)
    archive.answers[path] = (503, {"Content-Length": "0"}, b"")
    with pytest.raises(OSError, match="has a fault"):
        ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet)
    assert any("/x.zarr/" in name for name in endpoint.objects())  # which the next call would go on with
    archive.answers.clear()
    if what == "chunk":
        content = archive.files[path]
        archive.answers[path] = (200, {**LATER, "Content-Length": str(len(content))}, content)
    else:
        path, right = "/pub/x.zarr/zarr.json", zarr_elsewhere.ZarrElsewhere._chunk

        def changing(*arguments: Any) -> bool:
            archive.files[path] = b"{}"
            return right(*arguments)

        monkeypatch.setattr(zarr_elsewhere.ZarrElsewhere, "_chunk", changing)
    with pytest.raises(DataError, match=rf"^{archive.url(path)}: was changed while the dataset was fetched"):
        ingest(archive.url("/pub/x.zarr"), MADE, tell=quiet)
    assert endpoint.objects() == []


def test_the_command_fetches_a_dataset_and_abandon_removes_what_was_begun(
    endpoint: S3Endpoint, archive: Archive, tmp_path: Path
) -> None:
    put(archive, tmp_path / "x.zarr")
    archive.answers[chunk(archive)] = (503, {"Content-Length": "0"}, b"")
    run = CliRunner().invoke(main, ["data", "ingest", archive.url("/pub/x.zarr"), MADE])
    assert run.exit_code == 1
    assert f"{chunk(archive)}: the server has a fault" in run.output
    assert "what was fetched stays there" in run.output
    assert CliRunner().invoke(main, ["data", "abandon", MADE]).exit_code == 0
    assert endpoint.objects() == []
    archive.answers.clear()
    run = CliRunner().invoke(main, ["data", "ingest", archive.url("/pub/x.zarr"), MADE])
    assert run.exit_code == 0, run.output
