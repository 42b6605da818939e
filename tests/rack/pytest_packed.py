"""pytest for a researcher's Python, whose environment has none: this environment's own."""

from __future__ import annotations

import tarfile
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("pytest", "_pytest", "py", "pluggy", "iniconfig")  # what it needs beside these, the environment has


def add(archive: tarfile.TarFile) -> None:
    """Put it into an archive."""
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec
        assert spec.origin
        origin = Path(spec.origin)
        archive.add(*((origin.parent, package) if spec.submodule_search_locations else (origin, origin.name)))
