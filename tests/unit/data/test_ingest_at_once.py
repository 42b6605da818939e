"""What others have or do at the place of a copy, in the same moment or between its calls, is never lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from netcdf_files import PACKED, year
from s3_endpoint import S3Endpoint

from appliance.data import compared, ingest
from appliance.data.ingesting import abandon

pytestmark = pytest.mark.filterwarnings("ignore")
Store = Callable[..., str]
FORMATS = pytest.mark.parametrize("kind", ["zarr", "icechunk"])
MADE = "s3://alice/made"


def quiet(_text: str) -> None:
    """What is said is of no interest here."""


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def begun(monkeypatch: pytest.MonkeyPatch, target: str = MADE, **options: Any) -> None:
    """A copy that ended before it was compared."""
    with monkeypatch.context() as patch:
        patch.setattr(compared.Check, "file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ingest("s3://alice/one.nc", target, tell=quiet, **options)


@FORMATS
def test_what_is_removed_is_not_what_a_name_would_stand_for_as_a_pattern(
    endpoint: S3Endpoint, store: Store, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    store("one.nc", year(1), **PACKED)
    ingest("s3://alice/one.nc", "s3://alice/run1", format=kind, tell=quiet)
    before = endpoint.objects()
    begun(monkeypatch, "s3://alice/run[1]", format=kind)
    abandon("s3://alice/run[1]")
    assert endpoint.objects() == before
