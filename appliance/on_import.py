"""What this package adds to other libraries at the moment when they are imported.

xarray has no entry points for writing, and looks its own engines up by name before it looks at entry points; pyarrow
has none for S3, and dask-gateway, findlibs and Icechunk none at all. Where these must know the facility, their
functions are wrapped. The interpreter of an environment that has xarray imports this module as it starts
(`environment.nix`, a line of its ``.pth`` file; a `sitecustomize` of its own would be hidden by Debian's), so that
programs, notebooks and workers have it with nothing configured. It costs nothing where the libraries are not imported,
and imports nothing but the standard library. A library that cannot be completed stays as it is, with a warning.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Loader

# Once the first is imported, `install(module)` of the second is called.
ADDED = {
    "dask_gateway.client": "appliance.compute.gateway_client",
    "findlibs": "appliance.data.grib_libraries",
    "icechunk.repository": "appliance.data.icechunk_commits",
    "icechunk.xarray": "appliance.data.icechunk_writing",
    "pyarrow.fs": "appliance.compute.reading.arrow",
    "xarray.backends.netCDF4_": "appliance.data.xarray_netcdf",
    "xarray.backends.writers": "appliance.data.xarray_writers",
}


class _Adding:
    """Loads a module as its own loader does, and completes it."""

    def __init__(self, own: Loader):
        self._own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Who asks a module for its source or its data finds its own loader.
        module.__loader__ = self._own
        if module.__spec__:
            module.__spec__.loader = self._own
        self._own.exec_module(module)
        _complete(module)


class _Finder:
    """Finds the modules of `ADDED` where all others find them, each time that somebody looks for one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in ADDED:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, _Finder) or not hasattr(finder, "find_spec"):
                continue
            if spec := finder.find_spec(fullname, path, target):
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Adding(spec.loader)  # type: ignore[assignment,arg-type]
                return spec
        return None


def _complete(module: ModuleType) -> None:
    own = ADDED[module.__name__]
    try:
        importlib.import_module(own).install(module)
    except Exception as error:
        import logging

        logging.getLogger("distributed.appliance").warning("%s stays as it is: %s: %r", module.__name__, own, error)


def install() -> None:
    """Complete the libraries of `ADDED`: now where they are imported already, else as they are."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name in ADDED:
        if name in sys.modules:
            _complete(sys.modules[name])


install()
