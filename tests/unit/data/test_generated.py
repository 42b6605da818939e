"""Files of all kinds: what is published is what xarray reads of the file itself, or is refused with words.

GENERATED_FILES=2000 makes as many as that, and prints a table (with pytest's -s).
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import generated_files
import generated_writing
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st
from s3_endpoint import S3Endpoint

from appliance.data import DataError, compared, described, virtual_store, virtualize

FILES = int(os.environ.get("GENERATED_FILES", "200"))
pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries, about odd files
TABLE: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def _table() -> Iterator[None]:
    yield
    for row, count in sorted(TABLE.items()):
        print(f"{count:6} {row}")


@settings(
    max_examples=FILES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate] if FILES > 200 else tuple(Phase),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    file=generated_files.files(), kind=st.sampled_from(["kerchunk", "icechunk"]), small=st.sampled_from([0, 100, 2**20])
)
def test_what_is_published_is_what_the_file_holds(
    endpoint: S3Endpoint, file: dict[str, Any], kind: str, small: int
) -> None:
    endpoint.empty()
    path = endpoint.folder / "alice" / "Ordner ü" / "a b.nc"
    path.parent.mkdir(parents=True)
    try:
        generated_writing.write(path, file)
    except (RuntimeError, ValueError):  # the libraries do not write all: blosc of noise, szip of short chunks
        reject()
    row = f"{file['format']} {kind}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(described, "SMALL_BYTES", small)
        patch.setattr(compared, "SMALL_BYTES", small)
        try:
            made = virtualize("s3://alice/Ordner ü/a b.nc", "s3://alice/made", format=kind, group=file["group"])
        except DataError as error:
            said = str(error)
            assert said.startswith("s3://alice/Ordner ü/a b.nc: "), said
            assert "way out: " in said, said
            assert endpoint.objects() == ["alice/Ordner ü/a b.nc"]
            TABLE[f"{row} refused: {reason(said)}"] += 1
            TABLE["refused"] += 1
            return
    with xr.open_dataset(path, group=file["group"], engine="netcdf4") as truth:
        found = xr.open_zarr(virtual_store(made), chunks=None)
        wrong = differences(found, truth)
        assert not wrong, wrong
    TABLE[f"{row} equal"] += 1
    TABLE["equal"] += 1


def reason(text: str) -> str:
    """What a refusal has in common with others."""
    return " ".join(word for word in text.split(": ", 1)[1].split("way out")[0].split() if "'" not in word)[:90]


def differences(found: xr.Dataset, truth: xr.Dataset) -> list[str]:
    """Compares by other means than the product does."""
    made = []
    if set(found.variables) != set(truth.variables) or set(found.coords) != set(truth.coords):
        made.append(f"{sorted(found.variables)} with {sorted(found.coords)}, {sorted(truth.coords)} in the file")
    for name in set(found.variables) & set(truth.variables):
        a, b = found[name].variable, truth[name].variable
        if a.dims != b.dims or a.shape != b.shape:
            made.append(f"{name}: {a.sizes} and {b.sizes}")
            continue
        if {k: plain(v) for k, v in a.attrs.items()} != {k: plain(v) for k, v in b.attrs.items()}:
            made.append(f"{name}: attributes {a.attrs} and {b.attrs}")
        for key in ("_FillValue", "missing_value", "scale_factor", "add_offset", "units", "calendar", "_Unsigned"):
            x, y = plain(a.encoding.get(key)), plain(b.encoding.get(key))
            if x != y and "nan" not in (x, y):
                made.append(f"{name}: encoding {key} {x} and {y}")
        x, y = np.asarray(a.values), np.asarray(b.values)
        scaled = {"scale_factor", "add_offset"} & set(b.encoding)
        if scaled and x.dtype in ("f4", "f8") and y.dtype == "f4":  # JSON has no float32, and Python no float64
            with np.errstate(all="ignore"):
                atol = 1e-6 * abs(float(b.encoding.get("add_offset", 0))) + 1e-37
                ok = np.isclose(x, np.asarray(b.values, "f8"), rtol=1e-6, atol=atol, equal_nan=True)
            if not ok.all():
                made.append(f"{name}: {x} and {y}")
            continue
        if x.dtype.kind in "OTSU":
            if [plain(v) for v in x.flat] != [plain(v) for v in y.flat]:
                made.append(f"{name}: {x} and {y}")
        elif x.dtype == "i8" and y.dtype.kind in "iu" and np.asarray(b.encoding.get("scale_factor")).dtype == "i4":
            if not np.array_equal(x, y):
                made.append(f"{name}: {x} and {y}")
        elif x.dtype.newbyteorder("=") != y.dtype.newbyteorder("="):
            made.append(f"{name}: {x.dtype} and {y.dtype}")
        elif x.astype(x.dtype.newbyteorder("=")).tobytes() != y.astype(y.dtype.newbyteorder("=")).tobytes():
            with np.errstate(all="ignore"), warnings.catch_warnings():
                if not np.array_equal(x, y, equal_nan=x.dtype.kind in "fmM"):
                    made.append(f"{name}: {x} and {y}")
    return made


def plain(value: Any) -> Any:
    """Of one form, whether it comes from JSON or from the netCDF library."""
    if isinstance(value, np.ndarray | list | tuple):
        listed = [plain(each) for each in np.asarray(value).reshape(-1).tolist()]
        return listed[0] if len(listed) == 1 else listed
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.rstrip(b"\0").decode()
    return "nan" if isinstance(value, float) and value != value else value
