"""What an environment's interpreter imports as it starts."""

from __future__ import annotations

from pathlib import Path

import programs
import pytest

PROJECT = Path(__file__).parents[2]
STARTS = """
import appliance.on_import, sys
assert not {"xarray", "dask", "fsspec", "numpy", "pyarrow"} & set(sys.modules), "a start imports nothing"
"""
WRAPPED = """
from xarray.backends import writers
print(sorted(name for name, found in vars(writers).items() if name.endswith(("_zarr", "_netcdf")) and
             hasattr(found, "__wrapped__")))
"""
LATE = "from xarray.backends import writers\nimport appliance.on_import\nappliance.on_import.install()\n"


@pytest.mark.parametrize("first", [STARTS, LATE])
def test_xarrays_writers_are_wrapped_once(tmp_path: Path, first: str) -> None:
    program = tmp_path / "starts.py"
    program.write_text(first + WRAPPED + "assert not hasattr(writers.to_zarr.__wrapped__, '__wrapped__')\n")
    assert programs.run(program) == "['_datatree_to_zarr', 'to_netcdf', 'to_zarr']\n"


def test_environments_import_it_as_they_start() -> None:
    assert '"import appliance.on_import"' in (PROJECT / "environments/environment.nix").read_text()
