"""GRIB files are copied as cfgrib has them; what cfgrib would leave out without a word is refused with words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import other_files
import pytest
import xarray as xr
from click.testing import CliRunner
from copies import FORMATS, MADE, large, opened, quiet
from s3_endpoint import S3Endpoint

from appliance.cli import main
from appliance.data import DataError, copying, grib_messages, ingest
from appliance.data.grib_source import GribSource

pytestmark = pytest.mark.filterwarnings("ignore")


def written(path: Path, *messages: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(messages))
    return path


def as_cfgrib_has_it(path: Path, **keys: Any) -> xr.Dataset:
    """Without the time at which it was looked at."""
    options = {"indexpath": "", "errors": "raise", "filter_by_keys": keys}
    with xr.open_dataset(path, engine="cfgrib", backend_kwargs=options) as found:
        return (
            found.load().drop_attrs(deep=False).assign_attrs({k: v for k, v in found.attrs.items() if k != "history"})
        )


@FORMATS
@pytest.mark.parametrize("edition", [1, 2])
@pytest.mark.parametrize("where", ["s3", "home"])
def test_a_file_is_copied_as_cfgrib_has_it(
    endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch, kind: str, edition: int, where: str
) -> None:
    large(monkeypatch)
    path = written(endpoint.folder / "alice/ä b.grib", *other_files.fields(edition=edition))
    source = "s3://alice/ä b.grib" if where == "s3" else path
    ingest(source, MADE, format=kind, chunks={"time": 2, "latitude": 3}, check="all", block_bytes=1, tell=quiet)
    made = opened(kind).load()
    xr.testing.assert_identical(made, as_cfgrib_has_it(path))
    assert made.t.encoding["chunks"][0] == 2
    assert int(made.t.isnull().sum()) == 2 * 2


def test_files_of_a_day_or_more_each_are_joined(endpoint: S3Endpoint) -> None:
    for number, first in enumerate((20200104, 20200101)):
        written(endpoint.folder / f"alice/{number}.grib", *other_files.fields(number + 1, first=first))
    ingest("s3://alice/*.grib", MADE, tell=quiet)
    parts = [as_cfgrib_has_it(endpoint.folder / f"alice/{number}.grib") for number in (1, 0)]
    xr.testing.assert_identical(opened("zarr").load(), xr.concat(parts, "time", combine_attrs="override"))


MOMENTS = {
    "time": [{"dataDate": 20200101 + day, "dataTime": 600} for day in range(3)],
    "step": [{"dataDate": 20200101, "endStep": hours} for hours in (6, 12, 24)],
    "valid_time": [{"dataDate": 20200101, "endStep": 18}, {"dataDate": 20200102}, {"dataDate": 20200102, "endStep": 6}],
}


@pytest.mark.parametrize("levels", [(500,), (500, 850)])
@pytest.mark.parametrize("dim", MOMENTS)
def test_files_of_one_moment_each_are_joined_as_open_mfdataset_joins_them(
    endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch, dim: str, levels: tuple[int, ...]
) -> None:
    large(monkeypatch)
    paths = []
    for number, keys in enumerate(MOMENTS[dim]):
        fields = [
            other_files.message(
                np.random.default_rng((number, level)).normal(280, 5, 48), shortName=name, level=level, **keys
            )
            for name in ("t", "u")
            for level in levels
        ]
        paths.append(written(endpoint.folder / f"alice/{9 - number}.grib", *fields))
    ingest("s3://alice/*.grib", MADE, dim=dim, chunks={dim: 2}, check="all", block_bytes=1, tell=quiet)
    times = ["valid_time"] if dim == "valid_time" else ["time", "step"]
    with xr.open_mfdataset(
        paths,
        engine="cfgrib",
        combine="nested",
        concat_dim=dim,
        coords="different",
        compat="equals",
        combine_attrs="drop_conflicts",
        backend_kwargs={"indexpath": "", "errors": "raise", "time_dims": times},
    ) as truth:
        made = opened("zarr").load()
        xr.testing.assert_identical(made, truth.load().drop_attrs(deep=False).assign_attrs(made.attrs))
    assert made.t.dims[0] == dim
    assert made.sizes[dim] == 3


def test_a_worker_has_the_moment_as_a_dimension_too(endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    large(monkeypatch)
    for number, keys in enumerate(MOMENTS["time"]):
        written(endpoint.folder / f"alice/{number}.grib", other_files.message(np.full(48, float(number)), **keys))

    def on_worker(_: copying.Here, tasks: Sequence[copying.Task], store: Any, done: Callable[..., None]) -> None:
        for task in tasks:
            copying.on_worker(task, store)
            done(task)

    monkeypatch.setattr(copying.Here, "run", on_worker)
    ingest("s3://alice/*.grib", MADE, check="all", tell=quiet)
    copying._release()
    assert opened("zarr").t.mean(["latitude", "longitude"]).values.tolist() == [0, 1, 2]


def test_a_field_of_one_row_keeps_its_row(tmp_path: Path) -> None:
    row = {"Nj": 1, "latitudeOfLastGridPointInDegrees": 50}
    source = GribSource(str(written(tmp_path / "row.grib", other_files.message(np.zeros(8), **row))), None, "time")
    assert source.layout.arrays["t"].shape == (1, 1, 8)
    with source.opened() as found:
        assert dict(found.t.sizes) == {"time": 1, "latitude": 1, "longitude": 8}


def test_files_of_one_moment_each_that_do_not_follow_each_other_are_told(endpoint: S3Endpoint) -> None:
    for number, keys in enumerate(MOMENTS["step"][:2]):
        written(endpoint.folder / f"alice/{number}.grib", other_files.message(np.zeros(48), **keys))
    with pytest.raises(DataError, match=r"1.grib: its time begins at .* name another dimension than 'time'"):
        ingest("s3://alice/*.grib", MADE, tell=quiet)
    written(endpoint.folder / "alice/1.grib", other_files.message(np.zeros(48), dataDate=20200102, endStep=12))
    with pytest.raises(DataError, match=r"1.grib: variable 'step': values is others"):
        ingest("s3://alice/*.grib", MADE, tell=quiet)
    written(endpoint.folder / "alice/1.grib", other_files.message(np.zeros(48), shortName="u", dataDate=20200102))
    with pytest.raises(DataError, match=r"1.grib: has no variable 't', which .*0.grib has"):
        ingest("s3://alice/*.grib", MADE, tell=quiet)
    assert [name for name in endpoint.objects() if not name.endswith(".grib")] == []


def test_fields_that_a_file_has_for_some_of_its_times_and_levels_alone_are_told(endpoint: S3Endpoint) -> None:
    path = written(endpoint.folder / "alice/one.grib", *other_files.fields()[:-1])
    told: list[str] = []
    ingest("s3://alice/one.grib", MADE, tell=told.append)
    xr.testing.assert_identical(opened("zarr").load(), as_cfgrib_has_it(path))
    assert "u: 1 of 6 fields, for all its times and levels, are not in the file: missing values" in told
    assert not any(line.startswith("t: 1 of") for line in told)


def test_headers_between_messages_are_passed_over_and_fields_of_one_message_are_all_read(tmp_path: Path) -> None:
    """ecCodes hands out the first field of a message."""
    messages = other_files.fields(days=1)
    bulletin = b"\x01\r\r\n123\r\r\nHTXX85 ECMF 010000\r\r\n"
    together = other_files.of_one_message(messages)
    path = written(tmp_path / "one.grib", bulletin, together)
    written(tmp_path / "each.grib", *messages)
    for missing in (grib_messages.WINDOW, 1000):  # the file is read in stretches
        grib_messages.WINDOW, before = missing, grib_messages.WINDOW
        try:
            with GribSource(str(path), None).opened() as found:
                xr.testing.assert_identical(found.load(), as_cfgrib_has_it(tmp_path / "each.grib"))
        finally:
            grib_messages.WINDOW = before
    assert GribSource(str(path), None).layout.arrays["u"].lengths.tolist() == [[[len(together)]]] * 2


def test_a_bitmap_of_an_earlier_field_of_the_message_counts(tmp_path: Path) -> None:
    values = np.arange(48.0)
    first, second = (other_files.message(values + n, missing=(5,), level=500 + n) for n in (0, 1))
    together = bytearray(other_files.of_one_message([first, second]))
    bitmap = together.rindex(bytes([6, 0]) + b"\xfb", 0)  # section 6 of the second one: its map begins with 11111011
    length = int.from_bytes(together[bitmap - 4 : bitmap], "big")
    together[bitmap - 4 : bitmap - 4 + length] = (6).to_bytes(4, "big") + bytes([6, grib_messages.BITMAP_OF_BEFORE])
    together[8:16] = len(together).to_bytes(8, "big")
    with GribSource(str(written(tmp_path / "one.grib", bytes(together))), None).opened() as found:
        assert np.isnan(found.t.values.reshape(2, 48)[:, 5]).all()
        assert int(found.t.isnull().sum()) == 2


MIXED = [
    other_files.message(np.full(48, 1.0), shortName="2t", typeOfLevel="heightAboveGround", level=2),
    other_files.message(np.full(48, 2.0), shortName="10u", typeOfLevel="heightAboveGround", level=10),
    other_files.message(np.full(48, 3.0), shortName="t", typeOfLevel="isobaricInhPa", level=500),
]


def test_a_file_of_several_datasets_is_refused_with_their_names_and_each_is_copied(endpoint: S3Endpoint) -> None:
    written(endpoint.folder / "alice/mixed.grib", *MIXED)
    with pytest.raises(DataError, match=r"s3://alice/mixed.grib: holds several datasets.* --group: ") as raised:
        ingest("s3://alice/mixed.grib", MADE, tell=quiet)
    groups = str(raised.value).partition("--group: ")[2].split("; way out")[0].split("; ")
    assert groups == [
        "typeOfLevel=heightAboveGround,stepType=instant,level=10.0",
        "typeOfLevel=heightAboveGround,stepType=instant,level=2.0",
        "typeOfLevel=isobaricInhPa,stepType=instant",
    ]
    for number, group in enumerate(groups):
        made = ingest("s3://alice/mixed.grib", f"s3://alice/made-{number}", group=group, tell=quiet)
        (name,) = xr.open_zarr(made).data_vars
        assert (name, float(xr.open_zarr(made)[name].mean())) == [("u10", 2.0), ("t2m", 1.0), ("t", 3.0)][number]
    run = CliRunner().invoke(main, ["data", "ingest", "s3://alice/mixed.grib", MADE, "--group", "level=2"])
    assert run.exit_code == 0, run.output
    assert "t2m" in opened("zarr")
    ingest("s3://alice/mixed.grib", "s3://alice/10u", group="shortName=10u", tell=quiet)
    assert set(xr.open_zarr("s3://alice/10u").data_vars) == {"u10"}


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("level=7", r"has no fields of 'level=7'; it has: typeOfLevel=heightAboveGround"),
        ("surface", r"--group 'surface': write KEY=VALUE"),
        ("colour=red", r"--group 'colour=red': write KEY=VALUE.* typeOfLevel"),
        ("typeOfLevel=heightAboveGround", r"holds several.* --group: [^;]*level=10.0; [^;]*level=2.0$"),
    ],
)
def test_a_group_that_is_none_is_told_with_those_that_there_are(tmp_path: Path, group: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"mixed.grib: {message}"):
        GribSource(str(written(tmp_path / "mixed.grib", *MIXED)), group)


def test_fields_that_cfgrib_would_leave_out_without_a_word_are_told(tmp_path: Path) -> None:
    twice = [other_files.message(np.full(48, float(n)), shortName="t", level=500) for n in range(2)]
    with pytest.raises(DataError, match=r"twice.grib: 1 of its 2 fields have the same variable, level and time"):
        GribSource(str(written(tmp_path / "twice.grib", *twice)), None)
    moved = other_files.message(np.zeros(48), level=850, longitudeOfFirstGridPointInDegrees=1)
    with pytest.raises(DataError, match=r"moved.grib: .*lie on 2 grids: .* md5GridSection=\w{32}; md5GridSection="):
        GribSource(str(written(tmp_path / "moved.grib", twice[0], moved)), None)


WHOLE = other_files.fields(days=1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"".join(WHOLE)[:-100], r"is truncated: its message at byte [\d,]+ ends at [\d,]+, and the file at"),
        (WHOLE[0][:-4] + b"8888" + WHOLE[1], r"is damaged: its message at byte 0 does not end where it says"),
        (WHOLE[0][:7] + b"\x03" + WHOLE[0][8:], r"is truncated or damaged: .* is of edition 3, not 1 or 2"),
        (WHOLE[0][:10], r"is truncated or damaged: .* edition 0"),
        (b"GRIB\x80\x00\x08\x01" + bytes(100), r".* of edition 1 and longer than 8 MiB: convert it"),
        (WHOLE[0][:20] + b"\x09" + WHOLE[0][21:], r"is damaged: the sections of its message at byte 0 do not follow"),
        (b"GRIB\0\0\0\x02" + (20).to_bytes(8, "big") + b"7777", r"is damaged: its message at byte 0 has no values"),
    ],
)
def test_a_damaged_file_is_told_by_its_name(endpoint: S3Endpoint, tmp_path: Path, content: bytes, message: str) -> None:
    path = written(tmp_path / "bad.grib", content)
    with pytest.raises(DataError, match=rf"{path}: {message}.*way out: upload it again, or make it anew"):
        ingest(path, MADE, tell=quiet)
    assert endpoint.objects() == []


def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "one.grib", *other_files.fields())
    source = GribSource(str(path), None)
    source.copy.check_unchanged()
    written(path, *other_files.fields(2))
    with pytest.raises(DataError, match=r"one.grib: was changed while it was read"):
        source.copy.check_unchanged()
