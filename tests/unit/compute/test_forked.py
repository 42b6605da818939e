"""A process forked from one that has read S3: it reads and writes as with s3fs, and nobody waits for ever.

In programs of their own: this process has threads, and would hand down what other tests have read.
"""

from __future__ import annotations

import json
from pathlib import Path

import programs
import pytest
from s3_endpoint import S3Endpoint

PROGRAM = """
import json, multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import dask, fsspec, numpy as np, xarray as xr
from appliance.compute.reading import objects
from appliance.compute.reading.read_counter import counter

dask.config.set(scheduler="synchronous")  # Dask's own pool of threads does not survive a fork
files = fsspec.filesystem("s3")
files.pipe_file("alice/letters", b"abcdefgh")
etag = files.info("alice/letters")["ETag"]
xr.Dataset({"a": ("t", np.arange(40.0))}).chunk(t=10).to_zarr("s3://alice/forked.zarr", mode="w")
opened = xr.open_zarr("s3://alice/forked.zarr")
assert float(opened.a.sum()) == 780.0 and files.cat("alice/letters") == b"abcdefgh" and objects.usable()

def written(i):
    fsspec.filesystem("s3").pipe_file(f"alice/written-{i}", bytes(i))
    return len(fsspec.filesystem("s3").cat(f"alice/written-{i}"))

def unchanged(i):
    files, found = fsspec.filesystem("s3"), []
    for when in ({"if_match": etag}, {"if_match": '"another"'}, {"if_unmodified_since": 10}):
        try:
            found.append(files.cat_file("alice/letters", start=2, end=5, **when).decode())
        except OSError as error:
            found.append(str(error))
    return found

WAYS = {
    "read": lambda i: fsspec.filesystem("s3").cat("alice/letters").decode(),
    "read by the parent's": lambda i: files.cat("alice/letters").decode(),
    "listed by the parent's": lambda i: [files.ls("alice/forked.zarr/a"), files.info("alice/letters")["size"]][1],
    "opened by the parent's": lambda i: files.open("alice/letters").read().decode(),
    "range": lambda i: fsspec.filesystem("s3").cat_file("alice/letters", start=2, end=-1).decode(),
    "listed": lambda i: fsspec.filesystem("s3").exists("alice/letters"),
    "written": written,
    "unchanged": unchanged,
    "opened before": lambda i: float(opened.a.sum()),
    "opened after": lambda i: float(xr.open_zarr("s3://alice/forked.zarr").a.sum()),
    "counted": lambda i: (fsspec.filesystem("s3").cat("alice/letters"), sum(counter().settle()["reads"].values()))[1],
}

def way(number):
    return WAYS[sys.argv[1]](number)

if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        print(json.dumps(list(pool.map(way, [1]))))
    assert files.cat("alice/letters") == b"abcdefgh" and float(opened.a.sum()) == 780.0
    assert files.info("alice/letters")["size"] == 8 and files.ls("alice/forked.zarr/a")
"""
CHANGED = (
    "s3://alice/letters was changed after the dataset that refers to it was made: make the dataset anew, and use that"
)


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize(
    ("way", "found"),
    [
        ("read", "abcdefgh"),
        ("read by the parent's", "abcdefgh"),
        ("listed by the parent's", 8),
        ("opened by the parent's", "abcdefgh"),
        ("range", "cdefg"),
        ("listed", True),
        ("written", 1),
        ("unchanged", ["cde", CHANGED, CHANGED]),
        ("opened before", 780.0),
        ("opened after", 780.0),
        ("counted", 1),
    ],
)
def test_a_forked_process_does_what_its_parent_does(tmp_path: Path, way: str, found: object) -> None:
    program = tmp_path / "forks.py"
    program.write_text(PROGRAM)
    assert json.loads(programs.run(program, way)) == [found]


def test_another_process_forked_before_any_read_has_the_fast_way(tmp_path: Path, endpoint: S3Endpoint) -> None:
    (endpoint.folder / "alice/early").write_bytes(b"x")
    program = tmp_path / "forks.py"
    program.write_text("""
import multiprocessing
import fsspec
from appliance.compute.reading import objects
def length():
    return len(fsspec.filesystem("s3").cat("alice/early"))
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(objects.usable)
        assert pool.apply(length) == 1
""")
    programs.run(program)
