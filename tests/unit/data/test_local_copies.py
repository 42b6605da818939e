"""Objects of S3 as files, for programs that know only files."""

from __future__ import annotations

import resource
import stat
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner, Result
from s3_endpoint import S3Endpoint

from appliance.data import DataError, download
from appliance.data.cli import data
from appliance.data.local_copies import as_files

# A program that opens files as NetCDF's own library does, and says what is in them.
READS = """
import sys, netCDF4
for path in sys.argv[1:]:
    print(path.rpartition("/")[2], int(netCDF4.Dataset(path)["t"][:].sum()))
"""


@pytest.fixture
def years(store: Callable[..., str]) -> list[str]:
    return [store(f"era5/{year}.nc", xr.Dataset({"t": ("x", np.arange(year))})) for year in (3, 4)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where copies lie meanwhile."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return cache


def said(*words: str) -> Result:
    return CliRunner().invoke(data, words)


def test_files_come_under_their_own_names_as_they_are(endpoint: S3Endpoint, years: list[str], tmp_path: Path) -> None:
    done = said("get", "s3://alice/era5/*.nc", str(tmp_path / "new/here"))
    assert done.output.split() == [str(tmp_path / f"new/here/{year}.nc") for year in (3, 4)]
    for url, path in zip(years, done.output.split(), strict=True):
        assert Path(path).read_bytes() == (endpoint.folder / url.removeprefix("s3://")).read_bytes()


@pytest.mark.parametrize(
    ("urls", "words"),
    [
        (["s3://alice/era5/4.nc", "s3://alice/other/4.nc"], "have the same name"),
        (["s3://alice/era5/4.nc", "s3://alice/era5/3.nc"], "is there already"),
        (["s3://alice/nothing/*.nc"], "no object has such a name"),
    ],
)
@pytest.mark.usefixtures("years")
def test_what_would_overwrite_or_is_not_there_copies_nothing(tmp_path: Path, urls: list[str], words: str) -> None:
    (tmp_path / "3.nc").write_text("mine")
    with pytest.raises(DataError, match=words):
        download(urls, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["3.nc"]
    assert (tmp_path / "3.nc").read_text() == "mine"


@pytest.mark.usefixtures("years")
def test_a_folder_and_what_is_not_there_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="s3://alice/era5 is a folder or a dataset, and no file"):
        download(["s3://alice/era5"], tmp_path)
    with pytest.raises(FileNotFoundError, match=r"s3://alice/era5/5\.nc is not there"):
        download(["s3://alice/era5/5.nc"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_copy_for_which_there_is_no_room_leaves_no_part(years: list[str], tmp_path: Path) -> None:
    """A limit of the process stands for a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            download(years, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("years")
def test_a_program_that_knows_only_files_reads_s3(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = said("run", "python", "-c", READS, "s3://alice/era5/*.nc")
    assert done.exit_code == 0
    assert capfd.readouterr().out == "3.nc 3\n4.nc 6\n"
    assert list(place.iterdir()) == [], "and its copies are gone"


def test_a_programs_own_words_and_its_status_are_left_as_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    done = said("run", "python", "-c", "import sys; print(sys.argv[1:]); sys.exit(7)", "-h", "--in", "x=s3://alice/a")
    assert done.exit_code == 7
    assert capfd.readouterr().out == "['-h', '--in', 'x=s3://alice/a']\n"


@pytest.mark.usefixtures("years")
def test_copies_can_be_read_and_not_written_and_go_whatever_happens(place: Path) -> None:
    def interrupted() -> None:
        with as_files(["cdo", "s3://alice/era5/3.nc", "out.nc"]) as words:
            assert (words[0], words[2]) == ("cdo", "out.nc")
            assert Path(words[1]).is_relative_to(place)
            assert stat.S_IMODE(Path(words[1]).stat().st_mode) == 0o400
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(place.iterdir()) == []


@pytest.mark.usefixtures("years")
def test_without_a_home_copies_lie_in_the_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file/cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with as_files(["s3://alice/era5/3.nc"]) as words:
        assert Path(words[0]).is_relative_to(tmp_path / "")


@pytest.mark.usefixtures("years", "place")
def test_a_program_that_is_not_there_and_an_object_that_is_not_are_told() -> None:
    done = said("run", "no-such-program", "s3://alice/era5/3.nc")
    assert "no-such-program: is no program of this machine" in done.output
    done = said("run", "ncdump", "s3://alice/era5/5.nc")
    assert "s3://alice/era5/5.nc is not there" in done.output


def test_fsspecs_own_way_works_on_the_facilitys_s3(years: list[str], tmp_path: Path) -> None:
    """What the page for researchers shows, for a notebook and for tasks of workers."""
    paths = fsspec.open_local([f"simplecache::{url}" for url in years], simplecache={"cache_storage": str(tmp_path)})
    assert [int(xr.open_dataset(path, engine="netcdf4").t.sum()) for path in paths] == [3, 6]
