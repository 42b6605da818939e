"""What a test may leave behind that another would meet: threads, processes, servers, variables, unclosed objects.

Objects that nobody closed warn when they are collected, and such warnings are errors (conftest.py): a collection at
the end of each test gives them to the test that made them.
"""

from __future__ import annotations

import gc
import os
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import attrgetter
from pathlib import Path

import psutil

PATIENCE = 5.0  # s for a thread or process that is ending
PAUSE = 0.1  # s between two looks at threads
MARK = "APPLIANCE_TESTS"  # a variable by which processes are known, whoever their parent is by now

# Threads that are started once for the whole process, or session, and are no test's own.
KEPT = re.compile(
    r"""
    fsspecIO                 # fsspec: the event loop under all of its filesystems, also s3fs's
    | zarr_io                # zarr: the event loop under its stores
    | IO\ loop              # distributed: the event loop under clients that are not asynchronous
    | asyncio_\d+           # default executors of these loops; asyncio.run ends those of its own
    | Dask-Offload.*         # distributed: packs large messages
    | Dask-Callback-Thread   # distributed: calls what waits for a future
    | Profile                # distributed: its statistical profiler
    | gateway-endings        # ours: closes what garbage collection ended of dask-gateway's
    | icechunk-references_\d+  # ours: load the references of all snapshots
    | s3-endpoint            # the session's S3 server, and connections that clients keep
    """,
    re.VERBOSE,
)
# Pools of threads without a name of their own.
KEPT_POOLS = (
    ("dask.threaded", "default_pool"),  # Dask: calculates what has no cluster
    ("dask_gateway.comm", "GatewayConnector._executor"),  # dask-gateway: looks up names
)
# Processes of multiprocessing, which end when this process does: one forks those of tests, one minds what they share.
KEPT_PROCESSES = re.compile(r"from multiprocessing\.(forkserver|resource_tracker) import main")
OWN_VARIABLES = {
    "PYTEST_CURRENT_TEST",  # pytest's, another one for each test
    "HDF5_PLUGIN_PATH",  # netCDF4 sets it when it is first imported
}


def threads() -> set[threading.Thread]:
    """Return the threads of this process, without those that are no test's own."""
    return {thread for thread in threading.enumerate() if not KEPT.fullmatch(thread.name)} - pooled()


def pooled() -> set[threading.Thread]:
    """Return the threads of `KEPT_POOLS`, as far as they are imported and used."""
    found: set[threading.Thread] = set()
    for module, path in KEPT_POOLS:
        if module in sys.modules:
            found |= getattr(attrgetter(path)(sys.modules[module]), "_threads", set())
    return found


def children() -> set[int]:
    """Return the ids of this process's children, also of those that have ended and nobody has asked how."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # of a thread that has just ended
            found.update(map(int, (task / "children").read_text().split()))
    return found


def servers() -> set[str]:
    """Return the sockets of this process that wait for connections."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            name = str(descriptor.readlink())
            if name.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(descriptor.name))) as own:
                    if own.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                        found.add(f"{name} {own.getsockname()}")
    return found


def variables() -> dict[str, str]:
    """Return the environment, and the working directory."""
    return {
        **{name: value for name, value in os.environ.items() if name not in OWN_VARIABLES},
        "(cwd)": str(Path.cwd()),
    }


def freeze() -> None:
    """Collect what is no longer used; what is still used is not looked through again."""
    gc.collect()
    gc.freeze()


@contextmanager
def none() -> Iterator[None]:
    """Raise `AssertionError` for what was not there before the block, and is after it."""
    known_threads, known_children, known_servers, known_variables = threads(), children(), servers(), variables()
    yield
    gc.collect()
    left: list[str] = []
    left += [f"thread {thread.name}" for thread in still_running(threads() - known_threads)]
    left += [described(pid) for pid in still_there(children() - known_children)]
    left += [f"server {name}" for name in servers() - known_servers]
    changed = dict(variables().items() ^ known_variables.items())
    left += [f"variable {name}" for name in changed]
    assert not left, f"the test leaves behind: {', '.join(sorted(left))}"


@contextmanager
def none_of_the_session() -> Iterator[None]:
    """The same for a whole session, and for processes that have got another parent meanwhile."""
    mark = uuid.uuid4().hex
    os.environ[MARK] = mark
    try:
        with none():
            yield
            gc.unfreeze()
        own = {os.getpid()}
        left = [pid for pid in psutil.pids() if pid not in own and is_marked(pid, mark)]
        assert not (found := [described(pid) for pid in still_there(left)]), f"the tests leave behind: {found}"
    finally:
        del os.environ[MARK]


def is_marked(pid: int, mark: str) -> bool:
    """Whether a process was started by these tests."""
    try:
        return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # another user's, or gone
        return False


def still_running(found: set[threading.Thread]) -> list[threading.Thread]:
    """Wait a moment for threads to end, and return those that do not."""
    last = time.monotonic() + PATIENCE
    while alive := [thread for thread in found if thread.is_alive()]:
        if time.monotonic() > last:
            break
        for thread in alive:
            if thread.ident is not None:  # else it is about to start, and cannot be joined yet
                thread.join(PAUSE)
        # What keeps a thread may have been held by another one, such as an event loop's, at the last collection.
        gc.collect()
    return alive


def still_there(pids: Iterator[int] | set[int] | list[int]) -> list[int]:
    """Wait a moment for processes to end, and return those that do not, or whose end nobody waits for."""
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE or not KEPT_PROCESSES.search(" ".join(process.cmdline())):
                found.append(process)
    _, alive = psutil.wait_procs(found, timeout=PATIENCE)
    return [process.pid for process in alive]


def described(pid: int) -> str:
    """A process for people."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return f"process {pid} {process.status()} {' '.join(process.cmdline())[:200]}"
    return f"process {pid}"
