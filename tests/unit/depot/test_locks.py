"""Lock files: what they may hold, and what the project's own hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.depot.errors import DepotError
from appliance.depot.layout import ENVIRONMENTS, Project
from appliance.depot.locks import parse

HASH = "a" * 64
PROJECT = Project.here()
LOCKS = [
    PROJECT.root / "requirements" / "control.lock",
    PROJECT.build_lock,
    *(PROJECT.lock(name) for name in ENVIRONMENTS),
]


def test_names_are_normalised_and_all_hashes_kept(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(
        f"# made by hand\nZope_Interface==6.1 \\\n    --hash=sha256:{HASH} \\\n    --hash=sha256:{'b' * 64}\n"
    )

    (requirement,) = parse(lock)

    assert (requirement.name, requirement.version) == ("zope-interface", "6.1")
    assert requirement.hashes == {HASH, "b" * 64}


@pytest.mark.parametrize(
    "line",
    [
        "numpy>=2 --hash=sha256:" + HASH,
        "numpy==2.0",
        "numpy==2.* --hash=sha256:" + HASH,
        "--extra-index-url file:///somewhere",
        "numpy @ file:///somewhere/numpy.whl --hash=sha256:" + HASH,
        "-e .",
    ],
)
def test_a_line_that_is_not_pinned_by_hash_is_refused(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "lock"
    lock.write_text(line + "\n")

    with pytest.raises(DepotError, match="make lock"):
        parse(lock)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_projects_locks_hold_no_address_and_no_path(lock: Path) -> None:
    text = lock.read_text()

    assert parse(lock)
    assert "://" not in text
    assert " /" not in text


def test_what_two_environments_share_has_one_version() -> None:
    analysis, services = ({item.name: item.version for item in parse(PROJECT.lock(name))} for name in ENVIRONMENTS)

    differing = {name for name in analysis.keys() & services.keys() if analysis[name] != services[name]}

    assert not differing


def test_graphs_are_exchanged_between_equal_versions() -> None:
    control = {item.name: item.version for item in parse(LOCKS[0])}
    analysis = {item.name: item.version for item in parse(PROJECT.lock("analysis"))}

    for name in ("dask", "distributed", "xarray", "zarr", "s3fs", "fsspec", "cloudpickle", "msgpack"):
        assert control[name] == analysis[name], name
