"""Taking in what a builder made."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from appliance.depot import environments
from appliance.depot.errors import DepotError
from appliance.depot.layout import Depot
from appliance.depot.signing import NarInfo

KEY = "0" * 32
BASE = "/nix/store/" + "1" * 32 + "-appliance-analysis-base"
TOP = "/nix/store/" + "2" * 32 + "-appliance-analysis-0.1.0"


def test_hashes_are_written_as_nix_writes_them() -> None:
    assert environments.nix_base32(hashlib.sha256(b"").digest()) == (
        "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"
    )


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    here = Depot(tmp_path)
    here.nix.mkdir(parents=True)
    _arrive(here, BASE, b"base")
    _arrive(here, TOP, b"top", BASE)
    return here


def _arrive(depot: Depot, store_path: str, content: bytes, *references: str) -> Path:
    """What `nix copy --to file://` leaves for one store path, with the archive's content taken as it is."""
    hashed = environments.nix_base32(hashlib.sha256(content).digest())
    archive = depot.incoming / "nar" / f"{hashed}.nar.zst"
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(content)
    (depot.incoming / f"{Path(store_path).name[:32]}.narinfo").write_text(
        f"StorePath: {store_path}\nURL: nar/{archive.name}\nCompression: zstd\nFileHash: sha256:{hashed}\n"
        f"FileSize: {len(content)}\nNarHash: sha256:{hashed}\nNarSize: {len(content)}\n"
        f"References: {' '.join(Path(reference).name for reference in references)}\n"
    )
    return archive


def test_an_environment_is_signed_served_and_recorded(depot: Depot) -> None:
    assert environments.take_in(depot, "analysis", KEY, TOP) == [BASE, TOP]

    public = depot.public_key.read_text()
    for path in depot.nix.glob("*.narinfo"):
        assert NarInfo.parse(path.read_text()).verify(public)
    assert environments.recorded(depot, "analysis", KEY) == TOP
    assert environments.recorded(depot, "services", KEY) is None


def test_the_base_that_is_served_already_need_not_arrive_again(depot: Depot) -> None:
    environments.take_in(depot, "analysis", KEY, TOP)
    newer = TOP.replace("2" * 32, "3" * 32)
    for path in depot.incoming.glob("*.narinfo"):
        path.unlink()
    _arrive(depot, newer, b"newer", BASE)

    assert environments.take_in(depot, "analysis", "1" * 32, newer) == [newer]


def test_a_damaged_archive_is_refused_and_nothing_is_served(depot: Depot) -> None:
    _arrive(depot, TOP, b"top", BASE).write_bytes(b"to")

    with pytest.raises(DepotError, match="where its narinfo says"):
        environments.take_in(depot, "analysis", KEY, TOP)

    assert not list(depot.nix.rglob("*.nar*"))
    assert environments.recorded(depot, "analysis", KEY) is None


def test_a_part_that_did_not_arrive_is_named(depot: Depot) -> None:
    (depot.incoming / f"{'1' * 32}.narinfo").unlink()

    with pytest.raises(DepotError, match="analysis-base did not arrive"):
        environments.take_in(depot, "analysis", KEY, TOP)


@pytest.mark.parametrize("address", ["../signing.key", "nar/../../signing.key", "/etc/shadow"])
def test_an_archive_outside_of_the_cache_is_refused(depot: Depot, address: str) -> None:
    path = depot.incoming / f"{'2' * 32}.narinfo"
    lines = [f"URL: {address}" if line.startswith("URL") else line for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")

    with pytest.raises(DepotError, match="address"):
        environments.take_in(depot, "analysis", KEY, TOP)


@pytest.mark.parametrize(
    ("name", "key", "path"),
    [
        ("other", KEY, TOP),
        ("analysis", "../../x", TOP),
        ("analysis", KEY, "/nix/store/../../etc"),
        ("analysis", KEY, ""),
    ],
)
def test_names_that_are_none_are_refused(depot: Depot, name: str, key: str, path: str) -> None:
    with pytest.raises(DepotError, match="no environment of this depot"):
        environments.take_in(depot, name, key, path)


def test_a_record_whose_content_is_gone_counts_for_nothing(depot: Depot) -> None:
    environments.take_in(depot, "analysis", KEY, TOP)
    (depot.nix / f"{'2' * 32}.narinfo").unlink()

    assert environments.recorded(depot, "analysis", KEY) is None
