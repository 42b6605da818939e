"""What goes into a description: each variable of a file as it is stored, its values left in the file or copied.

Names, dimensions and attributes are those that xarray finds. VirtualiZarr's arrays of references hold what stays in the
files; its own reading of attributes, fill values and scalars is not used (see tests/unit/data/test_upstream.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from appliance.data import DataError
from appliance.data.preprocess import Preprocess
from appliance.data.sources import Readable
from appliance.data.stored import Numbers, Stored
from appliance.data.times import is_time

SMALL_BYTES = 2**20  # up to which arrays along one dimension are copied
STRANGE_BYTES = 16 * 2**20  # up to which arrays are copied that Zarr cannot read where they lie
COPIED_BYTES = 64 * 2**20  # up to which text and coordinates are copied
READ_BYTES = 2**30  # up to which arrays are read whole that stay where they lie
TOLD = 12  # names of a list that is told
TEXT = "OSUT"  # NumPy's kinds of characters and strings
NUMBERS = "iufbc"  # its kinds of numbers; NetCDF has no truth values and no complex ones, Zarr has


@dataclass
class Described:
    """A file, or several joined ones.

    Attributes:
        url: of the file; of joined ones that which has what does not change along the dimension.
        variables: as they are stored, undecoded; each holds NumPy's values or VirtualiZarr's references.
        attributes: of the dataset.
        numbers: how the chunks of those with references are decoded.
        fills: what their chunks that were never written hold.
        static: fingerprints of the values of those without the dimension along which files are joined.
        notes: what the user should know of a variable.
        recounted: times that are counted from another day than in the files.
        dropped: attributes that differ between the files, by variable; "" is the dataset.
        unknown: names of the preprocessing that are not in the file.
        left: of those that will be read later: stand-ins of their shape and type are in ``variables``.
        groups: of the file, within what is described: what is in them is not.
    """

    url: str
    variables: dict[str, xr.Variable]
    attributes: dict[str, Any]
    numbers: dict[str, Numbers] = field(default_factory=dict)
    fills: dict[str, Any] = field(default_factory=dict)
    static: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    recounted: frozenset[str] = frozenset()
    dropped: dict[str, set[str]] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()
    groups: list[str] = field(default_factory=list)

    @property
    def sizes(self) -> dict[str, int]:
        """The length of each dimension."""
        return {str(dim): size for variable in self.variables.values() for dim, size in variable.sizes.items()}

    def told(self) -> Iterator[str]:
        """What the user should know of it, as lines of text."""
        yield from (f"{name}: {note}" for name, note in self.notes.items())
        if self.groups:
            yield f"of the groups {_few(self.groups)} nothing is taken: name one with --group, for a dataset of its own"
        names = sorted(f"{name}:{key}".removeprefix(":") for name, keys in self.dropped.items() for key in keys)
        if names:
            yield f"attributes that differ between the files are left out: {_few(names)}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:TOLD]) + (f" and {len(names) - TOLD} more" if len(names) > TOLD else "")


def is_virtual(variable: xr.Variable) -> bool:
    """Whether a variable's values stay in the file (VirtualiZarr's ManifestArray)."""
    return hasattr(variable.data, "manifest")


def dimension_of(source: Readable, preprocess: Preprocess, combine: str) -> str:
    """The dimension of a coordinate by which files are joined. Raises ``DataError`` where it has not exactly one."""
    fetch_small(source)
    with source.raw() as (raw, _):
        variables, _ = preprocess.applied(source.url, raw, {})
    if combine not in variables:
        raise DataError(f"{source.url}: has no variable {combine!r} to join by; it has: {', '.join(sorted(variables))}")
    dims = variables[combine].dims
    if len(dims) != 1:
        raise DataError(
            f"{source.url}: variable {combine!r} has the dimensions {dims}: what files are joined by has one"
        )
    return str(dims[0])


def describe(
    source: Readable,
    preprocess: Preprocess,
    dim: str | None,
    by: str | None = None,
    kept: bool = True,
    in_place: bool = True,
) -> Described:
    """Look at a file.

    Args:
        source: the file.
        preprocess: what is dropped and renamed.
        dim: the dimension along which it will be joined with others; None if it stays alone.
        by: the coordinate by which it is put in order with others, if it is not that of ``dim``.
        kept: whether values that have to be the same in all files are kept, and not their fingerprints alone.
        in_place: whether large arrays are described where they lie, or left to be read later.

    Raises:
        DataError: it cannot be described, for the reason said.
    """
    fetch_small(source)
    with source.raw() as (raw, attributes):
        unknown = preprocess.unknown(raw)
        variables, attributes = preprocess.applied(source.url, raw, attributes)
        stored = {
            new: source.layout.arrays[old].padded(variables[new].shape)
            for old, new in ((old, preprocess.renamed(old)) for old in raw if old not in preprocess.drop)
            if old in source.layout.arrays
        }
        if dim is not None and not any(dim in v.dims for v in variables.values()):
            has = ", ".join(sorted({str(d) for v in variables.values() for d in v.dims}))
            raise DataError(f"{source.url}: has no dimension {dim!r} to join along; it has: {has}; name one with --dim")
        if not set(raw) <= set(source.layout.arrays):  # called otherwise there: no hole may be taken for its values
            others = (each for old, each in source.layout.arrays.items() if old not in raw)
            source.copy.fetch(r for each in others for r in each.ranges())
        copied = {
            name for name in variables if name == by or _is_copied(name, variables, stored.get(name), dim, in_place)
        }
        read = [name for name, v in variables.items() if name in copied or _is_read(name, variables, dim)]
        for name, variable in variables.items():
            _check_readable(source.url, name, variable, stored.get(name))
        for name in read:
            _check_size(source.url, name, variables[name], stored.get(name), name in copied, in_place)
        source.copy.fetch(r for name in read if name in stored for r in stored[name].ranges())
    # Opened anew, since the library remembers what it found in holes.
    made = Described(source.url, {}, attributes, unknown=unknown, groups=source.layout.groups)
    with source.raw() as (raw, _):
        variables, _ = preprocess.applied(source.url, raw, {})
        for name in variables:
            _add(made, source, name, variables[name], stored.get(name), name in copied, dim, in_place)
            if not kept and name in made.static and not is_virtual(made.variables[name]):
                variable = made.variables[name]
                made.variables[name] = variable.copy(data=stand_in(variable.dtype, variable.shape))
    source.copy.keep()
    return made


def stand_in(dtype: np.dtype[Any], shape: Sequence[int]) -> np.ndarray:
    """An array that takes no memory, for one that is not kept."""
    return np.broadcast_to(np.zeros((), dtype), tuple(shape))


def fetch_small(source: Readable) -> None:
    """All that is not a large array, so that the library finds its way."""
    large = [stored for stored in source.layout.arrays.values() if _is_large(stored)]
    source.copy.fetch_all_but([*source.layout.elsewhere, *(each for stored in large for each in stored.ranges())])


def _is_large(stored: Stored) -> bool:
    nbytes = int(stored.lengths.sum())
    return nbytes > STRANGE_BYTES if stored.obstacle else nbytes > SMALL_BYTES or len(stored.shape) > 1


def _is_copied(
    name: str, variables: Mapping[str, xr.Variable], stored: Stored | None, dim: str | None, in_place: bool
) -> bool:
    """Whether values are copied into the description, because Zarr or xarray want it so, or it is small."""
    variable = variables[name]
    if in_place and (stored is None or stored.obstacle):
        return True
    if not variable.shape or not variable.size or variable.dtype.kind in TEXT:
        return True
    if _is_looked_into(name, variables):
        # By those along the dimension files are put in order, and files may count from other days.
        return variable.nbytes <= COPIED_BYTES or dim in variable.dims
    return variable.nbytes <= SMALL_BYTES and (variable.ndim == 1 or (dim is not None and dim not in variable.dims))


def _is_looked_into(name: str, variables: Mapping[str, xr.Variable]) -> bool:
    """Whether xarray reads values as it opens a dataset: of indices all, of times some."""
    return name in variables[name].dims or is_time(name, variables)


def _is_read(name: str, variables: Mapping[str, xr.Variable], dim: str | None) -> bool:
    """Whether all values have to be at hand, be they copied or not; also those that must be the same in all files."""
    return _is_looked_into(name, variables) or (dim is not None and dim not in variables[name].dims)


def _way_out(name: str) -> str:
    return f"way out: rewrite the file, or leave the variable out with --preprocess drop={name}"


def _check_readable(url: str, name: str, variable: xr.Variable, stored: Stored | None) -> None:
    if stored is not None and stored.unreadable:
        raise DataError(f"{url}: variable {name!r}: {stored.unreadable}; {_way_out(name)}")
    if variable.dtype.kind not in TEXT + NUMBERS:
        raise DataError(
            f"{url}: variable {name!r}: is of a structured, nested or opaque type, which Zarr does not have; "
            f"{_way_out(name)}"
        )


def _check_size(
    url: str, name: str, variable: xr.Variable, stored: Stored | None, copied: bool, in_place: bool
) -> None:
    reason = "" if not in_place else stored.obstacle if stored else "h5py does not find it in the file"
    most = STRANGE_BYTES if reason and variable.dtype.kind not in TEXT else COPIED_BYTES if copied else READ_BYTES
    if variable.nbytes > most:
        need = reason or ("its values have to be copied" if copied else "all its values have to be read")
        raise DataError(
            f"{url}: variable {name!r}: {need}, and its {variable.nbytes:,} bytes are too many for that; "
            f"{_way_out(name)}"
        )


def _add(
    made: Described,
    source: Readable,
    name: str,
    variable: xr.Variable,
    stored: Stored | None,
    copied: bool,
    dim: str | None,
    in_place: bool,
) -> None:
    values = None
    static = dim is not None and dim not in variable.dims
    attributes = {str(key): _plain(value) for key, value in variable.attrs.items()}
    if copied or static:
        why = f" ({stored.obstacle})" if stored is not None and stored.obstacle else ""
        with source.named(f"variable {name!r}: xarray cannot read it{why}"):
            values = np.asarray(variable.values)
        if values.dtype.kind == "T":
            values = values.astype(object)
        if values.dtype.kind == "O" and not all(isinstance(value, str) for value in values.flat):
            raise DataError(
                f"{source.url}: variable {name!r}: its values are of unlike lengths, which Zarr does not have; "
                f"way out: rewrite the file, or leave the variable out with --preprocess drop={name}"
            )
    enum = (np.dtype(variable.encoding.get("dtype", "f8")).metadata or {}).get("enum")
    if enum:
        names = ", ".join(f"{value} = {key}" for key, value in list(enum.items())[:8])
        made.notes[name] = f"its numbers stay; the names of the enumeration ({names}) do not, as Zarr has none"
    if stored is not None and stored.note:
        made.notes[name] = stored.note
    if values is not None and static:
        made.static[name] = _fingerprint(values)
    if not copied and not in_place:
        made.left |= {name}
        dtype = variable.dtype.newbyteorder("=")
        made.variables[name] = xr.Variable(variable.dims, stand_in(dtype, variable.shape), attributes)
    elif not copied:
        assert stored is not None and stored.numbers is not None  # noqa: S101, PT018  # by _is_copied
        made.numbers[name], made.fills[name] = stored.numbers, stored.fill
        made.variables[name] = xr.Variable(variable.dims, references(source.url, stored, variable.dims), attributes)
    else:
        made.variables[name] = xr.Variable(variable.dims, values, attributes)


def _fingerprint(values: np.ndarray) -> str:
    content: Any = np.ascontiguousarray(values).reshape(-1)
    content = "\0".join(content).encode() if values.dtype.kind == "O" else content.view("u1")
    return f"{values.dtype.str} {values.shape} {hashlib.sha256(content).hexdigest()}"


def _plain(value: Any) -> Any:
    """An attribute's value; arrays of one number as that number, as the netCDF library hands them out."""
    return value.item() if isinstance(value, np.ndarray) and value.shape == (1,) and value.dtype.kind == "O" else value


def references(url: str, stored: Stored, dims: Sequence[Any]) -> Any:
    """VirtualiZarr's array of where the chunks lie."""
    from virtualizarr.codecs import zarr_codec_config_to_v3
    from virtualizarr.manifests import ChunkManifest, ManifestArray
    from virtualizarr.manifests.utils import create_v3_array_metadata

    assert stored.numbers is not None  # noqa: S101
    metadata = create_v3_array_metadata(
        shape=stored.shape,
        data_type=stored.numbers.dtype,
        chunk_shape=stored.chunks,
        fill_value=np.array(stored.fill).astype(stored.numbers.dtype)[()],
        codecs=[zarr_codec_config_to_v3(dict(codec)) for codec in stored.numbers.codecs],
        dimension_names=[str(dim) for dim in dims],
    )
    paths = np.full(stored.lengths.shape, url, dtype=np.dtypes.StringDType())
    paths[stored.lengths == 0] = ""
    manifest = ChunkManifest.from_arrays(
        paths=paths, offsets=stored.offsets, lengths=stored.lengths, validate_paths=False
    )
    return ManifestArray(metadata=metadata, chunkmanifest=manifest)
