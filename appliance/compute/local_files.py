"""Files of this machine that a Dask graph reads, and whether the workers of a cluster can read them.

A notebook's home is on the head only. A graph that reads a file there fails on the workers, long after `to_zarr` has
replaced what was there by an empty store: it is asked before. Needless once homes are on all machines; the workers
themselves say what they can read, so that nothing need be changed then.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shlex
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
from fsspec.implementations.local import LocalFileSystem

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger("distributed.appliance.files")

WORKERS_ASKED = 3  # they are all alike; one may be on its way out


class NotOnWorkersError(FileNotFoundError):
    """Workers cannot read a file, or write one; the message says which, and what to do."""


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: Any) -> int:
        return len(data)


class _Noting(cloudpickle.Pickler):  # type: ignore[misc,name-defined]  # cloudpickle has no types
    """Goes through all that a graph holds, as pickling does, and notes files."""

    def __init__(self) -> None:
        super().__init__(_Nowhere())
        self.found: set[str] = set()

    def persistent_id(self, held: object) -> object:
        if isinstance(held, np.ndarray):
            return "array"  # of which nothing need be copied
        kind: Any = type(held)  # which mypy does not take for hashable
        if paths := _reader(kind):
            found = (os.fspath(path) for path in paths(held) if isinstance(path, str | os.PathLike))
            self.found.update(path for path in found if Path(path).is_absolute())
        return None


@functools.cache
def _reader(kind: type) -> Callable[[Any], Iterable[Any]] | None:
    """Return what tells the files that objects of a class read, as xarray, h5py, zarr and fsspec keep their names."""
    match f"{kind.__module__}.{kind.__qualname__}":
        case "xarray.backends.file_manager.CachingFileManager":
            return lambda held: held._args  # type: ignore[no-any-return]
        case "zarr.storage._local.LocalStore":
            return lambda held: [held.root]
        case "fsspec.core.OpenFile":
            return lambda held: [held.path] if isinstance(held.fs, LocalFileSystem) else []
        case "fsspec.mapping.FSMap":
            return lambda held: [held.root] if isinstance(held.fs, LocalFileSystem) else []
    return (lambda held: [held]) if issubclass(kind, Path) else None


def read_by(graph: Mapping[Any, Any]) -> set[str]:
    """Return the files and directories of this machine that a graph's tasks read, as far as can be known.

    Args:
        graph: a Dask graph. It is gone through as when it is sent to a scheduler, without the arrays in it.
    """
    noting = _Noting()
    # What cannot be sent is for Dask to say, whatever it raises; what was found so far is found.
    with contextlib.suppress(Exception):
        noting.dump(dict(getattr(graph, "layers", graph)))
    return {path for path in noting.found if _seen(path) is not None}


def missing(paths: Iterable[str], client: Client) -> list[str]:
    """Return the files that workers of a cluster, or its scheduler where it has none yet, cannot read as they are here.

    None, where they cannot be asked: then Dask does what it does without this module.

    Args:
        paths: absolute paths on this machine.
        client: the cluster's.
    """
    wanted = sorted(paths)
    here = [_seen(path) for path in wanted]
    try:
        workers = list(client.scheduler_info(n_workers=WORKERS_ASKED)["workers"])[:WORKERS_ASKED]
        answers = list(client.run(_all_seen, wanted, workers=workers, on_error="ignore").values()) if workers else []
        if not answers:  # there are none yet, or those that were asked are gone
            answers = [client.run_on_scheduler(_all_seen, wanted)]
    except Exception as error:  # a cluster that ends, or one of an older environment, which lacks this module
        logger.info("Nobody could be asked whether workers have %s: %r", ", ".join(wanted), error)
        return []
    return [path for i, path in enumerate(wanted) if any(there[i] != here[i] for there in answers)]


def _all_seen(paths: list[str]) -> list[tuple[int, int] | None]:
    return [_seen(path) for path in paths]


def _seen(path: str) -> tuple[int, int] | None:
    """Return what tells a file from another of the same name: bytes, and ns since 1970. None: it cannot be read.

    A directory has no bytes here: what it says of them differs between machines that share it.
    """
    try:
        found = Path(path).stat()
    except (OSError, ValueError):  # no name of a file is a ValueError
        return None
    nbytes = found.st_size if stat.S_ISREG(found.st_mode) else 0
    return (nbytes, found.st_mtime_ns) if os.access(path, os.R_OK) else None


def cluster_of(collections: Iterable[Any]) -> Client | None:
    """Return the client of the cluster on which collections would be calculated now; None where none would be."""
    from dask.base import get_scheduler, is_dask_collection

    if not any(is_dask_collection(one) for one in collections):
        return None
    client: Any = getattr(get_scheduler(), "__self__", None)  # type: ignore[no-untyped-call]
    return client if hasattr(client, "run_on_scheduler") and not client.asynchronous else None


def check(collections: Iterable[Any], doing: str) -> None:
    """Refuse what workers could not do, before anything is done.

    Args:
        collections: what is about to be calculated.
        doing: what would be left undone, for the message: "nothing was written".

    Raises:
        NotOnWorkersError: it reads files of this machine, and the workers of the cluster do not have them.
    """
    collections = list(collections)
    if (client := cluster_of(collections)) is None:
        return
    paths = set().union(*(read_by(one.__dask_graph__()) for one in collections if one.__dask_graph__() is not None))
    if paths and (gone := missing(paths, client)):
        more = f" (and {len(gone) - 1} more)" if len(gone) > 1 else ""
        put = f"appliance data put {shlex.quote(gone[0])} s3://BUCKET/PREFIX"
        raise NotOnWorkersError(
            f"{gone[0]}{more} is on this machine only, and the workers of your cluster cannot read it; {doing}. Put it "
            f"where they can, in a terminal `{put}`, and open it from there; "
            "or load it into the notebook's memory first, `ds.load()` before `ds.chunk(…)`; or let the notebook do it "
            'alone, `with dask.config.set(scheduler="threads"):`'
        )


def unreachable(place: str | os.PathLike[str], collections: Iterable[Any]) -> bool:
    """Return whether collections would be calculated by workers that do not have a directory of this machine.

    Args:
        place: the directory, or something in it that need not exist yet.
        collections: what is about to be calculated and kept there.
    """
    if (client := cluster_of(collections)) is None:
        return False
    path = Path(place).expanduser().absolute()
    there = next(parent for parent in (path, *path.parents) if parent.is_dir())
    return bool(missing([str(there)], client))
