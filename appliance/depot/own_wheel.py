"""The project's own wheel, made such that an unchanged tree gives the same bytes on any host."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from appliance.depot.errors import DepotError
from appliance.depot.layout import Project
from appliance.depot.wheels import Wheel, digest

# The first moment that a zip file can hold.
_EPOCH = "315532800"
_PARTS = ("pyproject.toml", "README.md", "LICENSE")


def sources(project: Project) -> list[Path]:
    """Files that the wheel is made of, relative to the tree, sorted."""
    package = project.root / "appliance"
    files = [
        path.relative_to(project.root)
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    ]
    return sorted([*files, *(Path(part) for part in _PARTS)])


def content_key(project: Project) -> str:
    """A hash of the tree's names and contents: the wheel's identity before it is made."""
    total = hashlib.sha256()
    for path in sources(project):
        total.update(f"{path}\0{digest(project.root / path)}\n".encode())
    return total.hexdigest()[:32]


def build(project: Project, directory: Path) -> tuple[Wheel, str, bool]:
    """The wheel of the tree as it is now, under ``DIRECTORY/own/KEY/``.

    Returns:
        The wheel, its address relative to the directory, and whether it had to be made.

    Raises:
        DepotError: the tree cannot be built.
    """
    key = content_key(project)
    home = directory / "own" / key
    made = not any(home.glob("*.whl"))
    if made:
        _make(project, key, home)
    path = next(iter(sorted(home.glob("*.whl"))))
    return Wheel(path.name, digest(path), path.stat().st_size), str(path.relative_to(directory)), made


def _make(project: Project, key: str, home: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="appliance-wheel-") as scratch:
        tree = Path(scratch) / "tree"
        for path in sources(project):
            # Names and contents only: neither this checkout's modes nor its times may reach the wheel.
            (tree / path).parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            shutil.copyfile(project.root / path, tree / path)
            (tree / path).chmod(0o644)
        if content_key(Project(tree)) != key:
            raise DepotError(f"{project.root}: files changed while the wheel was being made; run this again")
        out = Path(scratch) / "out"
        out.mkdir()
        # The build back-end itself, as pip would call it, without pip's second around it.
        call = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
        command = [sys.executable, "-c", call, str(out)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": _EPOCH, "PYTHONHASHSEED": "0"}
        result = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            raise DepotError(f"the project's wheel cannot be built: {result.stderr.strip()[-800:]}")
        home.mkdir(parents=True, exist_ok=True)
        for parent in (home, home.parent):
            parent.chmod(0o755)
        for wheel in out.glob("*.whl"):
            wheel.chmod(0o644)
            shutil.move(wheel, home / wheel.name)


def version(project: Project) -> str:
    """The project's version, from pyproject.toml."""
    path = project.root / "pyproject.toml"
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8"))["project"]["version"])
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise DepotError(f"{path}: no version in [project]: {error}") from error
