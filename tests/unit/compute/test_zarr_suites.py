"""zarr's own suite for stores, for the store of our filesystem and beside it that of s3fs.

As `test_fsspec_suites.py`, this file also runs as it is in a researcher's Python on a rack.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from s3fs import S3FileSystem
from zarr.core.buffer import Buffer, cpu
from zarr.core.sync import sync
from zarr.storage import FsspecStore
from zarr.testing.store import StoreTests

from appliance.compute.reading.filesystem import LocalS3FileSystem

BUCKET = os.environ.get("SUITES_BUCKET", "")
pytestmark = [] if BUCKET else [pytest.mark.usefixtures("endpoint")]


def on_zarrs_loop(test: Callable[..., Any]) -> Callable[..., None]:
    """A test that runs where zarr runs its stores."""

    @functools.wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        sync(test(*arguments, **fixtures))

    return run


class Suite(StoreTests[FsspecStore, cpu.Buffer]):
    """The suite, without a plugin of pytest's for coroutines."""

    store_cls = FsspecStore
    buffer_cls = cpu.Buffer
    kind: type[S3FileSystem]

    @pytest.fixture
    def path(self) -> Iterator[str]:
        """Where a store is, empty before and after."""
        self.files = LocalS3FileSystem()
        path = f"{BUCKET or 'alice'}/zarr-suite"
        yield path
        if self.files.exists(path):
            self.files.rm(path, recursive=True)

    @pytest.fixture
    def store_kwargs(self, path: str) -> dict[str, Any]:
        async def made() -> S3FileSystem:  # on zarr's loop, as all of the suite: fsspec tells threads apart
            return self.kind(asynchronous=True, use_listings_cache=False)

        return {"fs": sync(made()), "path": path}

    @pytest.fixture
    def store(self, open_kwargs: dict[str, Any]) -> FsspecStore:
        return sync(self.store_cls.open(**open_kwargs))

    @pytest.fixture
    def store_not_open(self, store_kwargs: dict[str, Any]) -> FsspecStore:
        return self.store_cls(**store_kwargs)

    async def set(self, store: FsspecStore, key: str, value: Buffer) -> None:
        self.files.pipe_file(f"{store.path}/{key}", value.to_bytes())

    async def get(self, store: FsspecStore, key: str) -> Buffer:
        return self.buffer_cls.from_bytes(self.files.cat_file(f"{store.path}/{key}"))

    def test_store_repr(self, store: FsspecStore) -> None:
        assert repr(store) == f"<FsspecStore({self.kind.__name__}, {store.path})>"

    def test_store_supports_writes(self, store: FsspecStore) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: FsspecStore) -> None:
        assert store.supports_listing


for _name, _test in inspect.getmembers(StoreTests, inspect.iscoroutinefunction):
    if _name.startswith("test_"):
        setattr(Suite, _name, on_zarrs_loop(_test))


class TestOurs(Suite):
    kind = LocalS3FileSystem


class TestS3fs(Suite):
    kind = S3FileSystem
