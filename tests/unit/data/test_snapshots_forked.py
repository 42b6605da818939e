"""An Icechunk repository in a process forked from one that read it: it reads what it can, and else says why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import programs
import xarray as xr

from appliance.data import virtualize

PROGRAM = """
import json, multiprocessing
import dask, xarray as xr
from appliance.data import virtual_store

dask.config.set(scheduler="synchronous")
opened = xr.open_zarr(virtual_store("s3://alice/forked.icechunk"), consolidated=False)
assert float(opened.t.sum()) == 7998000.0

def read(_):
    return float(opened.t.sum())

def opened_anew(_):
    try:
        return float(xr.open_zarr(virtual_store("s3://alice/forked.icechunk"), consolidated=False).t.sum())
    except Exception as error:
        return f"{type(error).__name__}: {error}"

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(json.dumps([pool.map(read, [1])[0], pool.map(opened_anew, [1])[0]]))
"""


def test_chunks_are_read_and_the_rest_is_refused(store: Callable[..., str], tmp_path: Path) -> None:
    # Smaller chunks stand among Icechunk's references, and only Icechunk reads those.
    store("forked.nc", xr.Dataset({"t": ("time", np.arange(4000.0))}, {"time": np.arange(4000)}), chunksizes=(1000,))
    virtualize("s3://alice/forked.nc", "s3://alice/forked.icechunk", format="icechunk")
    program = tmp_path / "forks.py"
    program.write_text(PROGRAM)
    read, refused = json.loads(programs.run(program))
    assert read == 7998000.0
    assert refused.startswith("DataError: Icechunk does not work in a process that was forked")
