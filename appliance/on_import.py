"""What this package adds to other libraries at the moment when they are imported.

xarray has no entry points for writing, and its entry points for reading cannot stand before its own engines; pyarrow
has none for S3, and dask-gateway none at all. Where these must know the facility, their functions are wrapped. The
interpreter of an environment imports this module as it starts (`environment.nix`, a line of its ``.pth`` file), so that
programs, notebooks and workers have it with nothing configured. It costs nothing where the libraries are not imported,
and imports nothing but the standard library.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

# Once the first is imported, `install(module)` of the second is called.
ADDED = {
    "dask_gateway.client": "appliance.compute.gateway_client",
    "pyarrow.fs": "appliance.compute.reading.arrow",
    "xarray.backends.netCDF4_": "appliance.data.xarray_netcdf",
    "xarray.backends.writers": "appliance.data.xarray_writers",
}


class _Adding(Loader):
    """Loads a module as its own loader does, and completes it."""

    def __init__(self, own: Loader):
        self._own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._own.exec_module(module)
        importlib.import_module(ADDED[module.__name__]).install(module)


class _Finder(MetaPathFinder):
    """Finds the modules of `ADDED` where all others find them."""

    def __init__(self) -> None:
        self._open = set(ADDED)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname not in self._open:
            return None
        self._open.discard(fullname)  # or it would find itself
        spec = find_spec(fullname)
        if spec and spec.loader:
            spec.loader = _Adding(spec.loader)
        return spec


def install() -> None:
    """Complete the libraries of `ADDED`: now where they are imported already, else as they are."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name, own in ADDED.items():
        if name in sys.modules:
            importlib.import_module(own).install(sys.modules[name])


install()
