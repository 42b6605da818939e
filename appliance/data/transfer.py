"""Files to S3 as they are: one part is one RADOS object, so that each part of a file lies in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from appliance.compute.reading import objects, placement_access
from appliance.compute.reading.objects import S3Access
from appliance.data import DataError, own_loop
from appliance.placement.model.s3_address import S3Address

PARTS_MAX = 10_000  # S3's limit on the parts of one upload
PIECE_BYTES = 8 * 2**20  # of a file handed on at once, so that a progress bar moves


def upload(
    files: Sequence[Path | str],
    url: str,
    progress: Callable[[Path, int], None] = lambda _file, _bytes: None,
    part_bytes: int | None = None,
) -> list[str]:
    """Put local files below an address, each under its own name.

    Args:
        files: local files; two with the same name would overwrite each other and are refused.
        url: ``s3://bucket/prefix``.
        progress: called with a file and how many more of its bytes have been handed to S3.
        part_bytes: size of a part; by default what RGW keeps as one RADOS object, as the placement map says.

    Returns:
        the addresses, in the order of ``files``. Each is complete: S3 has acknowledged all parts.

    Raises:
        AddressError: ``url`` is no address on S3.
        DataError: a file is missing, is no file, or is too large; nothing was uploaded.
        OSError: S3 cannot be reached, or refuses. Files before the one that is named have arrived.
    """
    address = S3Address.parse(url)
    bucket, prefix = address.bucket, address.key.strip("/")
    paths = [Path(file) for file in files]
    part_bytes = placement_access.part_bytes() if part_bytes is None else part_bytes
    _check(paths, part_bytes)
    keys = [f"{prefix}/{path.name}" if prefix else path.name for path in paths]
    access = objects.own_access()
    for path, key in zip(paths, keys, strict=True):
        own_loop.run(_put(bucket, key, path, access, part_bytes, progress))
    return [str(S3Address(bucket, key)) for key in keys]


def _check(paths: list[Path], part_bytes: int) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path}: there is no such file" if not path.exists() else f"{path}: is no plain file")
        if path.name in seen:
            raise DataError(f"{path} and {seen[path.name]} have the same name: put them below different prefixes")
        if not objects.representable(path.name):
            raise DataError(f"{path.name!r} has characters that cannot be part of a name on S3: rename the file")
        if path.stat().st_size > PARTS_MAX * part_bytes:
            raise DataError(
                f"{path}: {path.stat().st_size:,} bytes are more than {PARTS_MAX:,} parts of {part_bytes:,}: split it"
            )
        seen[path.name] = path


async def _put(
    bucket: str, key: str, path: Path, access: S3Access, part_bytes: int, progress: Callable[[Path, int], None]
) -> None:
    if path.stat().st_size <= part_bytes:
        await objects.write(bucket, key, path.read_bytes(), access, part_bytes)
        progress(path, path.stat().st_size)
        return
    await objects.write(bucket, key, _pieces(path, progress), access, part_bytes)


def _pieces(path: Path, progress: Callable[[Path, int], None]) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
            progress(path, len(piece))
