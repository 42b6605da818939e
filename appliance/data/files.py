"""Whether files can be joined to one dataset, and the dataset: without reading a value of the large arrays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from appliance.data import DataError
from appliance.data.described import TEXT, Described, is_virtual, stand_in
from appliance.data.joined_times import decoded, joined_times
from appliance.data.times import is_time

# What decides how stored numbers become values. Joined arrays have one of each: that of the first file.
DECODING = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned", "units", "calendar")


def check_joinable(opened: Sequence[Described], dim: str) -> None:
    """Refuse files that would decode wrongly, or not at all, as parts of one dataset.

    Args:
        opened: files in the order in which they are joined.
        dim: the dimension along which they are joined.

    Raises:
        DataError: names the file, the variable and the attribute.
    """
    first = opened[0]
    for each in opened[1:]:
        missing = set(first.variables) ^ set(each.variables)
        if missing:
            name = min(missing)
            here, there = (each, first) if name in each.variables else (first, each)
            raise DataError(
                f"{there.url}: has no variable {name!r}, which {here.url} has: join only files with the same "
                f"variables, or leave it out with --preprocess drop={name}"
            )
        for name in first.variables:
            _check_variable(name, first, each, dim)
    for each, following in itertools.pairwise(opened):
        for name, variable in each.variables.items():
            if is_virtual(variable) and dim in variable.dims:
                axis = variable.dims.index(dim)
                length, chunk = variable.shape[axis], variable.data.chunks[axis]
                if length % chunk:
                    raise DataError(
                        f"{each.url}: variable {name!r}: chunks of {chunk} do not fit its {length} along {dim!r}, and "
                        f"{following.url} follows: the chunk that they share lies in two files; way out: rewrite the "
                        f"files with chunks of a divisor of {length}, such as 1"
                    )


def _check_variable(name: str, first: Described, other: Described, dim: str) -> None:
    a, b = first.variables[name], other.variables[name]

    def refusal(attribute: str, here: Any, there: Any) -> DataError:
        return DataError(
            f"{other.url}: variable {name!r}: {attribute} is {_said(here)}, but {_said(there)} in {first.url}: joined, "
            "one of them would be decoded wrongly; way out: rewrite the file, or make a dataset of its own of it"
        )

    if a.dims != b.dims:
        raise refusal("dimensions", b.dims, a.dims)
    for dimension, size_a, size_b in zip(a.dims, a.shape, b.shape, strict=True):
        if dimension != dim and size_a != size_b:
            raise refusal(f"length of dimension {dimension!r}", size_b, size_a)
    times = dim in a.dims and is_time(name, first.variables) and not is_virtual(a) and not is_virtual(b)
    for attribute in DECODING:
        if times and attribute in ("units", "calendar"):
            continue  # joined_times converts them
        if not _same(a.attrs.get(attribute), b.attrs.get(attribute)):
            raise refusal(attribute, b.attrs.get(attribute), a.attrs.get(attribute))
    if first.static.get(name) != other.static.get(name):
        raise refusal("values", "others", "those")
    if is_virtual(a) != is_virtual(b) and name not in first.static:
        raise refusal("storage", *("chunks" if is_virtual(each) else "such that it must be copied" for each in (b, a)))
    if not is_virtual(a) or not is_virtual(b) or name in first.static:
        if a.dtype != b.dtype and not times:
            raise refusal("dtype", b.dtype, a.dtype)
        return
    storage: list[tuple[str, Callable[[Any], Any]]] = [
        ("dtype", lambda metadata: metadata.data_type),
        ("chunk shape", lambda metadata: metadata.chunk_grid.chunk_shape),
        ("codecs (compression and filters)", lambda metadata: metadata.codecs),
        ("fill value", lambda metadata: metadata.fill_value),
    ]
    for attribute, get in storage:
        of_a, of_b = get(a.data.metadata), get(b.data.metadata)
        if not _same(of_a, of_b):
            raise refusal(attribute, of_b, of_a)


def _said(value: Any) -> str:
    return "missing" if value is None else str(value)


def _same(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    try:
        return bool(np.array_equal(a, b, equal_nan=True))
    except TypeError:  # no numbers
        return bool(np.all(a == b))


def is_ordered(opened: Sequence[Described], by: str) -> bool:
    """Whether all files have a coordinate of numbers or times of this name, by which they can be put in order."""
    return all(
        by in each.variables and each.variables[by].ndim == 1 and each.variables[by].dtype.kind not in TEXT
        for each in opened
    )


def in_order(opened: Sequence[Described], dim: str, by: str | None = None) -> list[Described]:
    """In the order of the coordinate ``by`` (that along ``dim`` if None); as given where it is text, or there is none.

    Raises:
        DataError: the coordinate of a file runs back and forth, or has gaps in it, or two files overlap.
    """
    by = by or dim
    if not is_ordered(opened, by):
        _check_labels(opened, by)
        return list(opened)
    try:
        axes = [(each, decoded(each, by)) for each in opened]
    except DataError:
        if len({str([each.variables[by].attrs.get(key) for key in ("units", "calendar")]) for each in opened}) > 1:
            raise
        axes = [(each, decoded(each, by, times=False)) for each in opened]  # months, which xarray does not count
    for each, values in axes[1:]:
        if _kind(values) != _kind(axes[0][1]):
            raise DataError(
                f"{each.url}: variable {by!r}: is {_counted(each, by, values)}, but "
                f"{_counted(axes[0][0], by, axes[0][1])} in {axes[0][0].url}: they cannot be compared; "
                "way out: make a dataset of each"
            )
    upward: dict[bool, str] = {}
    for each, values in axes:
        if len(values) > 1:
            forth, back = (bool(np.all(values[1:] > values[:-1])), bool(np.all(values[1:] < values[:-1])))
            if not forth and not back:
                raise DataError(
                    f"{each.url}: variable {by!r}: runs neither forwards nor backwards all along (it begins with "
                    f"{_few(values)}): name another coordinate to join by with --combine, or rewrite the file"
                )
            upward[forth] = each.url
    if len(upward) > 1:
        raise DataError(
            f"{upward[False]}: variable {by!r}: runs backwards, but forwards in {upward[True]}: rewrite one of them"
        )
    backwards = False in upward
    axes.sort(key=lambda axis: axis[1][0], reverse=backwards)
    for (each, values), (following, next_values) in itertools.pairwise(axes):
        last, first = values[-1], next_values[0]
        if not (last > first if backwards else last < first):
            raise DataError(
                f"{following.url}: its {by} begins at {first}, not after {last}, where {each.url} ends: leave one of "
                f"the two out, name another dimension than {dim!r}, or another coordinate to join by with --combine"
            )
    return [each for each, _ in axes]


def _check_labels(opened: Sequence[Described], by: str) -> None:
    """Raise ``DataError`` where two files have the same label, of those whose coordinate is text."""
    owners: dict[str, str] = {}
    for each in opened:
        if by in each.variables and each.variables[by].dtype.kind in TEXT:
            for label in decoded(each, by).flat:
                if owners.setdefault(str(label), each.url) != each.url:
                    raise DataError(
                        f"{each.url}: its {by} {str(label)!r} is in {owners[str(label)]} too: leave one of the two out"
                    )


def _kind(values: np.ndarray) -> str:
    return type(values[0]).__name__ if values.dtype.kind == "O" else "number" if values.dtype.kind in "iuf" else "time"


def _counted(each: Described, name: str, values: np.ndarray) -> str:
    """How a coordinate is counted, for messages."""
    attributes = each.variables[name].attrs
    calendar = attributes.get("calendar", "standard")
    units = f"in {attributes['units']!r} of the calendar {calendar}" if "units" in attributes else "without units"
    return f"{units} (up to {values[-1]})"


def _few(values: np.ndarray) -> str:
    return ", ".join(str(value) for value in values[:3])


def joined(opened: Sequence[Described], dim: str, kept: Described) -> Described:
    """One dataset of several files, after ``check_joinable``. Attributes that differ are left out.

    ``kept`` is the file of which values are taken that are the same in all.
    """
    first = opened[0]
    variables, notes, recounted = {}, {}, set()
    for name, variable in first.variables.items():
        parts = [each.variables[name] for each in opened]
        if dim not in variable.dims:
            variables[name] = kept.variables[name]
        elif name in first.left:
            shape = [sum(p.sizes[d] for p in parts) if d == dim else size for d, size in variable.sizes.items()]
            variables[name] = xr.Variable(variable.dims, stand_in(variable.dtype, shape), variable.attrs)
        elif is_time(name, first.variables) and not is_virtual(variable):
            variables[name], units = joined_times(name, opened, dim)
            if units:
                recounted.add(name)
                notes[name] = f"is counted in {units!r} for all files, which count from different days"
        elif is_virtual(variable):
            variables[name] = xr.Variable(variable.dims, _chained(parts, variable.dims.index(dim)), variable.attrs)
        else:
            variables[name] = xr.Variable.concat(parts, dim=dim, combine_attrs="override")
        agreed = _agreed([part.attrs for part in parts], variables[name].attrs)
        variables[name] = xr.Variable(variables[name].dims, variables[name].data, agreed)
    attributes = _agreed([each.attributes for each in opened], first.attributes)
    dropped = {
        name: {key for each in opened for key in each.variables[name].attrs} - set(variable.attrs)
        for name, variable in variables.items()
    }
    dropped[""] = {key for each in opened for key in each.attributes} - set(attributes)
    notes |= {name: note for each in opened for name, note in each.notes.items()}
    return Described(
        kept.url,
        variables,
        attributes,
        first.numbers | {name: numbers for name, numbers in kept.numbers.items() if name in kept.static},
        first.fills | {name: fill for name, fill in kept.fills.items() if name in kept.static},
        notes=notes,
        recounted=frozenset(recounted),
        dropped=dropped,
        left=first.left,
        groups=first.groups,
    )


def _chained(parts: Sequence[xr.Variable], axis: int) -> Any:
    """References of several files as those of one array. VirtualiZarr refuses a last one with a part of a chunk."""
    from virtualizarr.manifests import ChunkManifest, ManifestArray
    from virtualizarr.manifests.utils import copy_and_replace_metadata

    manifests = [part.data.manifest for part in parts]
    paths, offsets, lengths = (
        np.concatenate([getattr(manifest, each) for manifest in manifests], axis=axis)
        for each in ("_paths", "_offsets", "_lengths")
    )
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    manifest = ChunkManifest.from_arrays(paths=paths, offsets=offsets, lengths=lengths, validate_paths=False)
    metadata = copy_and_replace_metadata(parts[0].data.metadata, new_shape=shape)
    return ManifestArray(metadata=metadata, chunkmanifest=manifest)


def _agreed(all_attributes: Sequence[dict[str, Any]], first: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value
        for key, value in first.items()
        if key in DECODING or all(key in each and _same(each[key], value) for each in all_attributes)
    }
