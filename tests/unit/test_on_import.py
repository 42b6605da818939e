"""What the interpreter of an environment for analysis imports as it starts."""

from __future__ import annotations

import re
from pathlib import Path

import programs
import pytest

PROJECT = Path(__file__).parents[2]
STARTS = """
import appliance.on_import, sys
assert not {"xarray", "dask", "fsspec", "numpy", "pyarrow", "logging"} & set(sys.modules), "a start imports nothing"
"""
WRAPPED = """
from xarray.backends import writers
print(sorted(name for name, found in vars(writers).items() if name.endswith(("_zarr", "_netcdf")) and
             hasattr(found, "__wrapped__")))
assert not hasattr(writers.to_zarr.__wrapped__, "__wrapped__")
"""
LATE = "from xarray.backends import writers\nimport appliance.on_import\nappliance.on_import.install()\n"
ASKED = STARTS + "from importlib.util import find_spec\nassert find_spec('xarray.backends.writers')\n"


@pytest.mark.parametrize("first", [STARTS, LATE, ASKED])
def test_xarrays_writers_are_wrapped_once(tmp_path: Path, first: str) -> None:
    program = tmp_path / "starts.py"
    program.write_text(first + WRAPPED)
    assert programs.run(program) == "['_datatree_to_netcdf', '_datatree_to_zarr', 'to_netcdf', 'to_zarr']\n"


def test_a_module_keeps_its_own_loader_and_may_be_loaded_anew(tmp_path: Path) -> None:
    program = tmp_path / "again.py"
    program.write_text(
        STARTS
        + """
import importlib
from xarray.backends import writers
own = importlib.machinery.SourceFileLoader
assert type(writers.__loader__) is type(writers.__spec__.loader) is own
first = writers.to_zarr
again = importlib.reload(writers).to_zarr
assert again is not first
"""
        + WRAPPED
    )
    programs.run(program)


BROKEN = """
import appliance.on_import, sys
appliance.on_import.ADDED["xarray.backends.writers"] = "appliance.gone"
appliance.on_import.ADDED["xarray.backends.netCDF4_"] = "appliance.on_import"  # whose `install` takes no module
import xarray
from xarray.backends import writers
assert not hasattr(writers.to_zarr, "__wrapped__")
xarray.Dataset({"a": ("x", [1, 2])}).to_netcdf("plain.nc")
with xarray.open_dataset("plain.nc") as opened:
    print(opened.a.values.tolist())
"""


def test_a_library_that_cannot_be_completed_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "broken.py"
    program.write_text(BROKEN)
    assert programs.run(program) == "[1, 2]\n"


def test_environments_with_xarray_import_it_as_they_start_and_services_do_not() -> None:
    expression = (PROJECT / "environments/environment.nix").read_text()
    assert 'if [ -d "$base/$site/xarray" ]; then echo "import appliance.on_import"' in expression
    has_xarray = {
        path.parent.name: bool(re.search(r"^xarray==", path.read_text(), re.MULTILINE))
        for path in (PROJECT / "environments").glob("*/requirements.lock")
    }
    assert has_xarray == {"analysis": True, "services": False}
