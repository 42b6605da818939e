"""GeoTIFF files are copied with the values that they store, as rioxarray reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import other_files
import pytest
import rasterio
import rioxarray
import xarray as xr
from copies import FORMATS, MADE, large, opened, quiet
from s3_endpoint import S3Endpoint

from appliance.data import DataError, ingest
from appliance.data.tiff_source import TiffSource

pytestmark = pytest.mark.filterwarnings("ignore")
KINDS: dict[str, dict[str, Any]] = {
    "of integers with a hole": {},
    "of one band": {"bands": 1},
    "of bytes, with nothing missing": {"dtype": "uint8", "nodata": None},
    "of floats": {"dtype": "float32", "nodata": float("nan")},
    "scaled": {"scales": (0.5, 0.5), "offsets": (10.0, 10.0), "tags": {"source": "a test"}},
    "of strips": {"tiled": False, "blockxsize": None, "blockysize": 7},
    "large, by its form": {"BIGTIFF": "YES"},
    "big-endian": {"ENDIANNESS": "BIG"},
}


@FORMATS
@pytest.mark.parametrize("of", KINDS)
@pytest.mark.parametrize("where", ["s3", "home"])
def test_a_picture_is_copied_as_rioxarray_reads_it(
    endpoint: S3Endpoint, monkeypatch: pytest.MonkeyPatch, kind: str, of: str, where: str
) -> None:
    large(monkeypatch)
    path = endpoint.folder / "alice/Höhe 1.tif"
    options = {name: value for name, value in KINDS[of].items() if value is not None or name == "nodata"}
    if KINDS[of].get("tiled") is False:
        options |= {"blockxsize": 150}
    other_files.picture(path, **options)
    source = "s3://alice/Höhe 1.tif" if where == "s3" else path
    ingest(source, MADE, format=kind, chunks={"y": 40}, check="all", block_bytes=1, tell=quiet)
    made = opened(kind).load()
    with xr.open_dataset(path, engine="rasterio") as truth:
        np.testing.assert_array_equal(made.band_data.values, truth.band_data.values)
        for name in ("band", "x", "y", "spatial_ref"):
            xr.testing.assert_equal(made[name].variable, truth[name].variable)
        assert set(made.coords) == set(truth.coords)
    with rioxarray.open_rasterio(path) as stored:
        assert made.band_data.encoding["dtype"] == stored.dtype
    assert made.rio.crs.to_epsg() == 32633
    assert made.rio.transform() == made.band_data.rio.transform() == rasterio.Affine(30, 0, 500_000, 0, -30, 5_600_000)


def test_what_stands_beside_a_file_is_not_read(endpoint: S3Endpoint) -> None:
    path = endpoint.folder / "alice/one.tif"
    other_files.picture(path, transform=rasterio.Affine.identity())
    path.with_suffix(".tfw").write_text("30\n0\n0\n-30\n500015\n5599985\n")
    found = []
    for source in ("s3://alice/one.tif", str(path)):
        with TiffSource(source, None).opened() as dataset:
            found.append(dataset.load())
    xr.testing.assert_identical(*found)
    assert float(found[0].x[1] - found[0].x[0]) == 1.0
    assert [name for name in endpoint.asked("GET") if not name.endswith("one.tif")] == []


def test_what_is_no_whole_picture_is_told_by_its_name(endpoint: S3Endpoint, tmp_path: Path) -> None:
    other_files.picture(tmp_path / "whole.tif")
    whole = (tmp_path / "whole.tif").read_bytes()
    (endpoint.folder / "alice/cut.tif").write_bytes(whole[: len(whole) // 2])
    for source in ("s3://alice/cut.tif", str(endpoint.folder / "alice/cut.tif")):
        with pytest.raises(DataError, match=rf"{source}: .*cannot read it: .*way out: `gdalinfo` tells more"):
            ingest(source, MADE, tell=quiet)
    with pytest.raises(DataError, match=r"whole.tif: a GeoTIFF file has no group 'a': leave --group out"):
        ingest(tmp_path / "whole.tif", MADE, group="a", tell=quiet)
    assert endpoint.objects() == ["alice/cut.tif"]


def test_a_file_of_several_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pages.tif"
    other_files.picture(path, bands=1)
    with rasterio.open(path) as first, rasterio.open(path, "r+") as same:
        profile = {**first.profile, "APPEND_SUBDATASET": "YES"}
        values = first.read()
        del same
    with rasterio.open(path, "w", **profile) as page:
        page.write(values)
    with pytest.raises(DataError, match=r"pages.tif: holds several pictures: `gdal_translate GTIFF_DIR:1:IN OUT`"):
        ingest(path, MADE, tell=quiet)
