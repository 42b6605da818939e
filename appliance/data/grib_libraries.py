"""ecCodes beside other libraries that bring PROJ.

ecCodes' wheel consists of libraries that need each other, among them one with a PROJ of its own. `findlibs` 0.1.3 loads
them for all that is loaded later (``RTLD_GLOBAL``): pyproj and rasterio, imported afterwards, then call functions of
that PROJ with data of theirs, find no database, and the process dies as it ends. They find each other as well if each
is loaded for itself.

Needless when they are not loaded for all any more, or show nothing of PROJ: ``tests/unit/data/test_upstream.py`` tells.
"""

from __future__ import annotations

from ctypes import CDLL
from typing import Any


def install(findlibs: Any) -> None:
    """Load libraries for those alone that need them. Raises ``AttributeError`` where that is done elsewhere by now."""
    if not callable(findlibs._load_globally):
        raise AttributeError("findlibs._load_globally")
    findlibs._load_globally = CDLL
