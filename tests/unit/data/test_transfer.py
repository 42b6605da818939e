"""Files put on an S3 endpoint as they are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from s3_endpoint import S3Endpoint

from appliance.cli import main
from appliance.data import DataError, upload
from appliance.placement.model.s3_address import AddressError

PART = 20_000  # for the tests; a real one is 64 MiB


def test_a_file_goes_in_parts_of_one_object_each(
    endpoint: S3Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.data.transfer.PIECE_BYTES", 7_000)
    content = {name: np.random.default_rng(size).bytes(size) for name, size in (("a.nc", PART), ("b.nc", 2 * PART + 1))}
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    seen: dict[str, int] = {}
    sizes: list[int] = []
    monkeypatch.setattr(endpoint, "parts", Watched(sizes))
    addresses = upload(
        [tmp_path / name for name in content],
        "s3://alice/raw/",
        lambda file, nbytes: seen.update({file.name: seen.get(file.name, 0) + nbytes}),
        part_bytes=PART,
    )
    assert addresses == ["s3://alice/raw/a.nc", "s3://alice/raw/b.nc"]
    for name, data in content.items():
        assert (endpoint.folder / "alice/raw" / name).read_bytes() == data
        assert seen[name] == len(data)
    assert sorted(sizes, reverse=True) == [PART, PART, 1]
    assert [path for path in endpoint.asked("POST") if path.endswith("a.nc")] == []


class Watched(dict[str, bytes]):
    """The endpoint's parts, whose sizes are noted as they come."""

    def __init__(self, sizes: list[int]):
        super().__init__()
        self.sizes = sizes

    def __setitem__(self, name: str, part: bytes) -> None:
        self.sizes.append(len(part))
        super().__setitem__(name, part)


def test_a_gateway_that_fails_does_not_lose_a_part(endpoint: S3Endpoint, tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_bytes(bytes(3 * PART))
    endpoint.refuse = 2
    upload([tmp_path / "a.nc"], "s3://alice", part_bytes=PART)
    assert (endpoint.folder / "alice/a.nc").read_bytes() == bytes(3 * PART)


def test_what_cannot_be_put_is_named_before_anything_is(endpoint: S3Endpoint, tmp_path: Path) -> None:
    good, twin = tmp_path / "good.nc", tmp_path / "twin" / "good.nc"
    twin.parent.mkdir()
    for file in (good, twin):
        file.write_bytes(b"x" * 30)
    for files, url, message in (
        ([good, tmp_path / "none.nc"], "s3://alice/x", r"none\.nc: there is no such file"),
        ([good, tmp_path], "s3://alice/x", "is no plain file"),
        ([good, twin], "s3://alice/x", "have the same name"),
        ([good], "alice/x", r"'alice/x' is no address on S3: write s3://BUCKET"),
    ):
        with pytest.raises((DataError, AddressError), match=message):
            upload(files, url)
    with pytest.raises(DataError, match="30 bytes are more than 10,000 parts of 0"):
        upload([good], "s3://alice/x", part_bytes=0)
    assert endpoint.log == []


def test_without_an_endpoint_the_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.nc").write_bytes(b"x")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    run = CliRunner().invoke(main, ["data", "put", str(tmp_path / "a.nc"), "s3://alice/x"])
    assert (run.exit_code, run.output) == (
        1,
        "Error: AWS_ENDPOINT_URL is not set: on the facility's machines it stands in /etc/appliance/client.env\n",
    )


def test_the_command_says_where_the_files_are(endpoint: S3Endpoint, tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_bytes(b"x")
    run = CliRunner().invoke(main, ["data", "put", str(tmp_path / "a.nc"), "s3://alice/x"])
    assert (run.exit_code, run.output) == (0, "s3://alice/x/a.nc\n")
    run = CliRunner().invoke(main, ["data", "put", str(tmp_path / "a.nc"), "s3://bob/x"])
    assert run.exit_code == 1
    assert "Error: s3://bob/x/a.nc: " in run.output
    assert not (endpoint.folder / "bob").exists()


def test_a_notebook_uploads_too(endpoint: S3Endpoint, tmp_path: Path) -> None:
    """Its cells run in an event loop."""
    (tmp_path / "a.nc").write_bytes(b"content")

    async def cell() -> list[str]:
        return upload([tmp_path / "a.nc"], "s3://alice/notebook", part_bytes=PART)

    assert asyncio.run(cell()) == ["s3://alice/notebook/a.nc"]
    assert (endpoint.folder / "alice/notebook/a.nc").read_bytes() == b"content"
