"""Libraries with an S3 of their own, in a researcher's Python: boto3, pyarrow, h5netcdf, and tables in Parquet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from researcher import Notebook, prepared_notebook

from appliance.demo.facility import Facility

PREPARED = """
    import fsspec, numpy as np, pandas as pd, xarray as xr
    fs = fsspec.filesystem("s3")
    def clean():
        for path in fs.glob("alice/libraries-test*"):
            fs.rm(path, recursive=True)
    clean()
    table = pd.DataFrame({"a": np.arange(1000), "b": [f"text {i}" for i in range(1000)]})
    say()
"""


@pytest.fixture(scope="module")
def notebook(facility: Facility) -> Iterator[Notebook]:
    with prepared_notebook(facility, "alice", PREPARED, "clean(); say()") as notebook:
        yield notebook


def test_boto3(notebook: Notebook) -> None:
    said = notebook.run("""
        import boto3
        client = boto3.client("s3")
        client.put_object(Bucket="alice", Key="libraries-test/boto", Body=b"as it is")
        listed = client.list_objects_v2(Bucket="alice", Prefix="libraries-test/")["Contents"]
        again = fs.cat("alice/libraries-test/boto").decode()
        say(read=client.get_object(Bucket="alice", Key="libraries-test/boto")["Body"].read().decode(), again=again,
            listed=[found["Key"] for found in listed])
    """)
    assert said == {"read": "as it is", "again": "as it is", "listed": ["libraries-test/boto"]}


def test_pyarrows_own_s3(notebook: Notebook) -> None:
    said = notebook.run("""
        import pyarrow.fs
        own = pyarrow.fs.S3FileSystem()
        with own.open_output_stream("alice/libraries-test/arrow") as stream:
            stream.write(bytes(20_000_000))
        other, path = pyarrow.fs.FileSystem.from_uri("s3://alice/libraries-test/arrow")
        say(sizes=[own.get_file_info(path).size, other.get_file_info(path).size, fs.size("alice/libraries-test/arrow")],
            kinds=[isinstance(found, pyarrow.fs.S3FileSystem) for found in (own, other)])
    """)
    assert said == {"sizes": [20_000_000] * 3, "kinds": [True, True]}


def test_pyarrows_constructor_still_ignores_the_environment(notebook: Notebook) -> None:
    """Where this fails, `appliance.compute.reading.arrow` has become needless."""
    said = notebook.run("""
        import pyarrow.fs
        ours, theirs = pyarrow.fs.S3FileSystem.__mro__[:2]
        say(endpoints=[kind(region="default").__reduce__()[1][0]["endpoint_override"] for kind in (ours, theirs)])
    """)
    assert [bool(endpoint) for endpoint in said["endpoints"]] == [True, False]


def test_parquet_with_pandas_and_dask(notebook: Notebook) -> None:
    said = notebook.run("""
        import dask.dataframe as dd
        table.to_parquet("s3://alice/libraries-test/pandas.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet("s3://alice/libraries-test/pandas.parquet"), table)
        dd.from_pandas(table, npartitions=4).to_parquet("s3://alice/libraries-test/dask.parquet")
        again = dd.read_parquet("s3://alice/libraries-test/dask.parquet")
        say(total=int(again.a.sum().compute()), parts=again.npartitions)
    """)
    assert said == {"total": 499_500, "parts": 4}


def test_a_large_netcdf_file_and_a_tree_are_read_in_parts(notebook: Notebook) -> None:
    said = notebook.run("""
        import appliance.data.xarray_netcdf as ours
        values = np.random.default_rng(3).normal(280, 5, (720, 128, 128)).astype("f4")
        year = xr.Dataset({"t": (("time", "y", "x"), values)})
        year.to_netcdf("s3://alice/libraries-test/year.nc", encoding={"t": {"chunksizes": (24, 128, 128)}})
        opened = xr.open_dataset("s3://alice/libraries-test/year.nc", chunks={})
        xr.DataTree.from_dict({"/": year.isel(time=[0]), "/a": xr.Dataset({"height": 2.0})}).to_netcdf(
            "s3://alice/libraries-test/tree.nc")
        tree = xr.open_datatree("s3://alice/libraries-test/tree.nc")
        say(mib=fs.size("alice/libraries-test/year.nc") // 2**20, most=ours.IN_MEMORY // 2**20,
            height=float(tree["a"].height), chunks=opened.t.chunks[0][:2], off=float(abs(opened.t - year.t).max()))
    """)
    assert said["mib"] > said["most"]
    assert said["chunks"] == [24, 24]
    assert said["off"] == 0.0
    assert said["height"] == 2.0
