"""Which wheels are here, and the project's own."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from appliance.depot import own_wheel
from appliance.depot.errors import DepotError
from appliance.depot.layout import Project
from appliance.depot.locks import LockedPackage
from appliance.depot.wheels import Store, Wheel

NAME = "thing-1.0-py3-none-any.whl"


def _requirement(content: bytes) -> LockedPackage:
    sha256 = hashlib.sha256(content).hexdigest()
    return LockedPackage("thing", "1.0", frozenset({sha256, "f" * 64}), f"thing==1.0 --hash=sha256:{sha256}")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "wheels").mkdir()
    return Store(tmp_path / "wheels", tmp_path / "memory.json")


def test_a_wheel_counts_by_its_hash(store: Store) -> None:
    (store.directory / NAME).write_bytes(b"whole")

    here, missing = store.match([_requirement(b"whole")])

    assert not missing
    assert (here["thing"].file, here["thing"].version) == (NAME, "1.0")


def test_a_wheel_that_was_cut_short_or_swapped_is_missing(store: Store) -> None:
    (store.directory / NAME).write_bytes(b"whole")
    store.match([_requirement(b"whole")])
    (store.directory / NAME).write_bytes(b"who")

    assert store.match([_requirement(b"whole")])[1] == [_requirement(b"whole")]


def test_a_wheels_name_and_version_are_told_in_their_normal_form() -> None:
    wheel = Wheel("Zope_Interface-6.01-cp313-cp313-manylinux_2_17_x86_64.whl", "0" * 64, 1)

    assert (wheel.name, wheel.version) == ("zope-interface", "6.1")


def test_a_project_without_a_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'appliance'\n")

    with pytest.raises(DepotError, match=r"no version in \[project\]"):
        own_wheel.version(Project(tmp_path))


def test_a_damaged_memory_is_made_anew(store: Store, tmp_path: Path) -> None:
    (store.directory / NAME).write_bytes(b"whole")
    (tmp_path / "memory.json").write_text("{")

    assert not store.match([_requirement(b"whole")])[1]


def _tree(target: Path) -> Project:
    root = Project.here().root
    package = target / "appliance"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('__version__ = "0.1.0"\n')
    (package / "cli.py").write_text("def main() -> None: ...\n")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(root / name, target / name)
    return Project(target)


def test_the_same_tree_gives_the_same_wheel_wherever_and_whenever(tmp_path: Path) -> None:
    first, second = _tree(tmp_path / "one"), _tree(tmp_path / "two")
    (second.root / "appliance" / "cli.py").chmod(0o755)
    os.utime(second.root / "appliance" / "cli.py", (0, 0))
    (second.root / "appliance" / "__pycache__").mkdir()
    (second.root / "appliance" / "__pycache__" / "cli.pyc").write_bytes(b"junk")

    one, path, made = own_wheel.build(first, tmp_path / "here")
    two, other_path, _ = own_wheel.build(second, tmp_path / "there")

    assert made
    assert (one.sha256, path) == (two.sha256, other_path)
    names = zipfile.ZipFile(tmp_path / "here" / path).namelist()
    assert "appliance/cli.py" in names
    assert not any("__pycache__" in name for name in names)
    assert not own_wheel.build(first, tmp_path / "here")[2]


def test_a_changed_tree_gives_another_wheel(tmp_path: Path) -> None:
    project = _tree(tmp_path / "one")
    before = own_wheel.content_key(project)
    (project.root / "appliance" / "cli.py").write_text("def main() -> None: print()\n")

    assert own_wheel.content_key(project) != before


def test_a_tree_that_cannot_be_built_is_said(tmp_path: Path) -> None:
    project = _tree(tmp_path / "one")
    (project.root / "pyproject.toml").write_text("[project\n")

    with pytest.raises(DepotError, match="cannot be built"):
        own_wheel.build(project, tmp_path / "here")
    assert not list((tmp_path / "here").rglob("*.whl"))
