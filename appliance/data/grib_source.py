"""A GRIB file, where a NetCDF file is used otherwise: by cfgrib, as ``xr.open_dataset(…, engine="cfgrib")`` has it.

A field is read when it is asked for, from S3 too. One thing is otherwise: where cfgrib leaves variables out that do not
fit the others, with a line in the log, such a file is refused, and the datasets in it are named.
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Collection, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import findlibs
import numpy as np
import xarray as xr

from appliance.data import DataError, file_bytes, grib_libraries
from appliance.data.at_hand import AtHand
from appliance.data.grib_messages import DamagedError, Field, Window, fields, single
from appliance.data.stored import Layout, Numbers, Stored, grid_of

TIMES = ("time", "step")  # dimensions of cfgrib; with "valid_time" as the one that is joined along, there are not these
APART = ("typeOfLevel", "stepType", "level:float")  # by which fields belong to one dataset or another, in this order
WAY_OUT = "`grib_ls` tells more; name one dataset of it with --group, or rewrite the file"


class GribSource:
    """A file, with what ``Source`` has.

    Args:
        url: ``s3://bucket/key``, or a path of this machine.
        group: one of the datasets in it: values of ecCodes' keys, as ``typeOfLevel=surface,stepType=instant``.
        dim: along which it is joined with others: a dimension where cfgrib has a single value of it, as
            ``xr.open_mfdataset(…, engine="cfgrib", combine="nested", concat_dim=…)`` makes one. "" for none.

    Raises:
        DataError: it is truncated or damaged, has no such fields, or holds several datasets and none is named.
        OSError: S3 cannot be reached, or refuses.
    """

    def __init__(self, url: str, group: str | None, dim: str = ""):
        self.url, self.group, self._dim = url, group, dim
        self.copy = AtHand(url, file_bytes.look)
        with self.named("ecCodes cannot read it", "upload it again, or make it anew"):
            index = _indexed(_Fields(url, self.copy.state[0]))
        with self.named("cfgrib cannot read it"):
            self._dataset = self._built(index, _keys(url, group, index))
            self._check_all_is_there(index)
            found = self._dataset.variables
            alone = _single_dimensions(found) - {self._dim} if self._dim else set()
            self._variables = {str(name): _squeezed(_variable(each), alone) for name, each in found.items()}
        self._attributes = {key: value for key, value in self._dataset.attributes.items() if key != "history"}
        self.layout = Layout({name: _stored(each, alone) for name, each in found.items() if _is_in_file(each.data)})

    def _built(self, index: Any, keys: Mapping[str, Any]) -> Any:
        from cfgrib.dataset import DatasetBuildError, open_from_index

        chosen = index.subindex(keys)
        if not chosen.field_ids_index:
            raise DataError(f"{self.url}: has no fields of {self.group!r}; it has: {'; '.join(_groups(index))}")
        try:
            times = (self._dim,) if self._dim == "valid_time" else TIMES
            return open_from_index(chosen, errors="raise", squeeze=not self._dim, time_dims=times)
        except DatasetBuildError as error:
            groups = [group for group in _groups(index) if _fits(index, group, keys)]
            raise DataError(
                f"{self.url}: holds several datasets, which do not fit together: name one with --group: "
                f"{'; '.join(groups)}"
            ) from error

    def _check_all_is_there(self, index: Any) -> None:
        """Raise ``DataError`` for fields that would be left out, or put upon another grid, without a word."""
        arrays = [each.data for each in self._dataset.variables.values() if _is_in_file(each.data)]
        chosen = index.subindex(self._dataset.encoding["filter_by_keys"])
        there = sum(len(places) for _, places in chosen.field_ids_index)
        taken = sum(len(array.field_id_index) for array in arrays)
        if there != taken:
            raise DataError(
                f"{self.url}: {there - taken} of its {there} fields have the same variable, level and time as others: "
                f"split it (`grib_copy`) by what tells them apart; {WAY_OUT}"
            )
        for array in arrays:
            grids = array.index["md5GridSection"]
            if len(grids) > 1:
                raise DataError(
                    f"{self.url}: the fields of a variable lie on {len(grids)} grids: name one of them with --group: "
                    + "; ".join(f"md5GridSection={grid}" for grid in grids)
                )

    @contextlib.contextmanager
    def raw(self) -> Iterator[tuple[dict[str, xr.Variable], dict[str, Any]]]:
        """Variables as cfgrib has them, undecoded, and the attributes of the dataset, without the time of this look."""
        yield {name: variable.copy(deep=False) for name, variable in self._variables.items()}, dict(self._attributes)

    @contextlib.contextmanager
    def opened(self, **options: Any) -> Iterator[xr.Dataset]:
        """The file as xarray opens it."""
        with self.raw() as (variables, attributes):
            with self.named("xarray cannot decode it"):
                dataset = xr.decode_cf(xr.Dataset(variables, attrs=attributes), **options)
            yield dataset

    @contextlib.contextmanager
    def named(self, what: str, way_out: str = WAY_OUT) -> Iterator[None]:
        """Say errors of the libraries with the file's address, and show none of their warnings."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except DataError:
            raise
        except DamagedError as error:
            raise DataError(f"{self.url}: {error}; way out: {way_out}") from error
        except Exception as error:
            if isinstance(error, OSError):
                raise  # S3 refuses, or does not answer: it may another time, and the file is as it should be
            said = (str(error).strip().splitlines() or [repr(error)])[0]
            raise DataError(f"{self.url}: {what}: {said}; way out: {way_out}") from error


class _Fields(Mapping[Field, Any]):
    """The fields of a file by their places, as cfgrib's messages."""

    def __init__(self, url: str, nbytes: int):
        self.url, self._nbytes = url, nbytes

    def _read(self, start: int, end: int) -> bytes:
        return file_bytes.read(self.url, start, end)

    def items(self) -> Any:
        """Each once, in turn: the file is read one time."""
        window = Window(self._read, self._nbytes)
        return ((field, _message(message)) for field, message in fields(window))

    def __getitem__(self, field: Field) -> Any:
        return _message(single(self._read, field))

    def __iter__(self) -> Iterator[Field]:
        return (field for field, _ in self.items())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _message(content: bytes) -> Any:
    grib_libraries.install(findlibs)
    import eccodes
    from cfgrib.messages import Message

    return Message(codes_id=eccodes.codes_new_from_message(content))


def _indexed(found: _Fields) -> Any:
    """What cfgrib finds by the keys of all fields."""
    grib_libraries.install(findlibs)
    from cfgrib import cfmessage, dataset
    from cfgrib.messages import FieldsetIndex

    keys = dataset.compute_index_keys((*TIMES, "valid_time"), filter_by_keys={"shortName": ""})
    return FieldsetIndex.from_fieldset(found, keys, cfmessage.COMPUTED_KEYS)


def _keys(url: str, group: str | None, index: Any) -> dict[str, Any]:
    """Keys and values of a group's text."""
    found: dict[str, Any] = {}
    for part in (group or "").split(","):
        if not part:
            continue
        key, _, text = part.partition("=")
        key = {"level": "level:float"}.get(key.strip(), key.strip())
        if key not in index.index_keys or not text:
            known = ", ".join(each.partition(":")[0] for each in index.index_keys)
            raise DataError(f"{url}: --group {group!r}: write KEY=VALUE,KEY=VALUE with keys of these: {known}")
        found[key] = next((value for value in index[key] if _is_meant(value, text.strip())), text)
    return found


def _is_meant(value: Any, text: str) -> bool:
    """Whether a text stands for a value: numbers may be written otherwise."""
    if str(value) == text:
        return True
    try:
        return float(value) == float(text)
    except (TypeError, ValueError):
        return False


def _groups(index: Any) -> list[str]:
    """The datasets in a file, as texts for ``--group``: told apart by as few keys as that takes."""
    from cfgrib.dataset import DatasetBuildError, open_from_index

    made = []
    places = [index.index_keys.index(key) for key in APART]
    combinations = dict.fromkeys(tuple(values[place] for place in places) for values, _ in index.field_ids_index)
    for kind, some in itertools.groupby(sorted(combinations, key=str), key=lambda values: values[:2]):
        keys = dict(zip(APART, kind, strict=False))
        try:
            open_from_index(index.subindex(keys), errors="raise")
            made.append(keys)
        except DatasetBuildError:
            made += [dict(zip(APART, values, strict=True)) for values in some]
    return [",".join(f"{key.partition(':')[0]}={value}" for key, value in keys.items()) for keys in made]


def _fits(index: Any, group: str, keys: Mapping[str, Any]) -> bool:
    """Whether a group is a part of what was asked for."""
    own = _keys("", group, index)
    return all(own.get(key, value) == value for key, value in keys.items())


def _is_in_file(data: Any) -> bool:
    return not isinstance(data, np.ndarray) and hasattr(data, "field_id_index")


def _single_dimensions(found: Mapping[str, Any]) -> set[str]:
    """Those of the length 1 along which fields follow each other: not those of a field."""
    arrays = [each for each in found.values() if _is_in_file(each.data)]
    headers = (zip(each.dimensions[: -each.data.geo_ndim], each.data.shape, strict=False) for each in arrays)
    return {dim for header in headers for dim, size in header if size == 1}


def _squeezed(variable: xr.Variable, alone: Collection[str]) -> xr.Variable:
    """Without some dimensions of the length 1; nothing is read."""
    return variable.isel({dim: 0 for dim in variable.dims if dim in alone})


def _variable(found: Any) -> xr.Variable:
    """As cfgrib's plugin for xarray makes it."""
    from cfgrib.xarray_plugin import ECCODES_LOCK, CfGribArrayWrapper
    from xarray.core.indexing import LazilyIndexedArray

    data = found.data
    if _is_in_file(data):
        data = LazilyIndexedArray(CfGribArrayWrapper(SimpleNamespace(lock=ECCODES_LOCK), data))
    return xr.Variable(found.dimensions, data, dict(found.attributes))


def _stored(found: Any, alone: Collection[str]) -> Stored:
    """A field is what is read as one. ``alone`` are the dimensions that were taken away."""
    array = found.data
    shape = tuple(int(size) for size in array.shape)
    header = len(shape) - array.geo_ndim
    chunks = (*(1 for _ in range(header)), *shape[header:])
    grid = grid_of(shape, chunks)
    offsets, lengths = np.zeros(grid, "u8"), np.zeros(grid, "u8")
    for index, places in array.field_id_index.items():
        at = (*index, *(0 for _ in range(array.geo_ndim)))
        offsets[at], lengths[at] = places[0].start, places[0].end - places[0].start
    count, missing = lengths.size, int((lengths == 0).sum())
    note = f"{missing:,} of {count:,} fields, for all its times and levels, are not in the file: missing values" * (
        missing > 0
    )
    axes = tuple(axis for axis, dim in enumerate(found.dimensions) if dim in alone)
    shape, chunks = (tuple(np.delete(each, axes).tolist()) for each in (shape, chunks))
    offsets, lengths = (each.squeeze(axes) for each in (offsets, lengths))
    return Stored(shape, chunks, offsets, lengths, Numbers(np.dtype(array.dtype)), note=note)
