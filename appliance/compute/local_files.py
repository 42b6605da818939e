"""Files of this machine that a Dask graph reads, and whether the workers of a cluster can read them.

A notebook's home is on the head only. A graph that reads a file there fails on the workers, long after `to_zarr` has
replaced what was there by an empty store: it is asked before. Needless once homes are on all machines; the workers
themselves say what they can read, so that nothing need be changed then.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np

if TYPE_CHECKING:
    from distributed import Client

WORKERS_ASKED = 3  # they are all alike; one may be on its way out


class NotOnWorkersError(FileNotFoundError):
    """Workers cannot read a file, or write one; the message says which, and what to do."""


class _Noting(cloudpickle.Pickler):  # type: ignore[misc,name-defined]  # cloudpickle has no types
    """Goes through all that a graph holds, as pickling does, and notes files. The pickle is thrown away."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO())
        self.found: set[str] = set()

    def persistent_id(self, held: Any) -> object:
        if isinstance(held, np.ndarray):
            return "array"  # of which nothing need be copied
        self.found.update(path for path in _paths(held) if Path(path).is_absolute())
        return None


def _paths(held: Any) -> Iterable[str]:
    """Return the files that one object reads, as xarray, h5py, zarr and fsspec name them."""
    kind = f"{type(held).__module__}.{type(held).__qualname__}"
    if kind == "xarray.backends.file_manager.CachingFileManager":
        return [arg for arg in held._args if isinstance(arg, str)]
    if kind == "xarray.backends.file_manager.PickleableFileManager":
        return [arg for arg in held._args if isinstance(arg, str)]
    if kind == "zarr.storage._local.LocalStore":
        return [str(held.root)]
    if kind in ("fsspec.core.OpenFile", "fsspec.mapping.FSMap") and "file" in held.fs.protocol:
        return [held.path if kind.endswith("OpenFile") else held.root]
    return [str(held)] if isinstance(held, Path) else []


def read_by(graph: Mapping[Any, Any]) -> set[str]:
    """Return the files and directories of this machine that a graph's tasks read, as far as can be known.

    Args:
        graph: a Dask graph. It is gone through as when it is sent to a scheduler, without the arrays in it.
    """
    noting = _Noting()
    # What cannot be sent is for Dask to say; what was found so far is found.
    with contextlib.suppress(pickle.PicklingError, TypeError, AttributeError):
        noting.dump(dict(getattr(graph, "layers", graph)))
    return {path for path in noting.found if Path(path).exists()}


def missing(paths: Iterable[str], client: Client) -> list[str]:
    """Return the files that workers of a cluster, or its scheduler where it has none yet, cannot read as they are here.

    Args:
        paths: absolute paths on this machine.
        client: the cluster's.
    """
    wanted = sorted(paths)
    here = [_seen(path) for path in wanted]
    workers = list(client.scheduler_info(n_workers=WORKERS_ASKED)["workers"])[:WORKERS_ASKED]
    answers = list(client.run(_all_seen, wanted, workers=workers, on_error="ignore").values()) if workers else []
    if not answers:  # there are none yet, or those that were asked are gone
        answers = [client.run_on_scheduler(_all_seen, wanted)]
    return [path for i, path in enumerate(wanted) if any(there[i] != here[i] for there in answers)]


def _all_seen(paths: list[str]) -> list[tuple[int, int] | None]:
    return [_seen(path) for path in paths]


def _seen(path: str) -> tuple[int, int] | None:
    """Return what tells a file from another of the same name: bytes, and ns since 1970. None: it cannot be read."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns) if os.access(path, os.R_OK) else None


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
        raise NotOnWorkersError(
            f"{gone[0]}{more} is on this machine only, and the workers of your cluster cannot read it; {doing}. Put it "
            f"where they can, in a terminal `appliance data put {gone[0]} s3://BUCKET/PREFIX`, and open it from there; "
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
