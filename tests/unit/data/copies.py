"""What the tests of copies share: where a copy goes, and how it is opened."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import xarray as xr

from appliance.data import copy_check, copy_job, virtual_store

Store = Callable[..., str]
FORMATS = pytest.mark.parametrize("kind", ["zarr", "icechunk"])
MADE = "s3://alice/made"


def opened(kind: str, target: str = MADE) -> xr.Dataset:
    return xr.open_zarr(target if kind == "zarr" else virtual_store(target))


def quiet(_text: str) -> None:
    """What is said is of no interest here."""


def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays of some kB are taken for large ones, in small blocks."""
    monkeypatch.setattr(copy_check, "SMALL_BYTES", 0)
    monkeypatch.setattr(copy_job, "THREADS", 2)
