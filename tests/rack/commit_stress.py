"""Writers commit to one branch of an Icechunk repository while connections to S3 are cut; then the history is judged.

A program for the notebook's environment, started as a researcher's: ``commit_stress.py s3://BUCKET/NAME``. It prints
one JSON object. Each writer is a process of its own, whose S3 is a forwarder in the first process. By a seed, the
forwarder cuts connections (a TCP reset to both ends): before a question, in the middle of one, or before its answer,
and more often where the branch is moved.

The ledger: a commit is acknowledged when Icechunk returned its snapshot. Where it raised, the commit may have been made
or not, so the writer looks for it in the history of the session with which it would try again. If it is there, that
counts as acknowledged; if not, the new commit can only be made while the branch is still where that session began, so
a request that is still on its way cannot be made as well.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import queue
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import icechunk
import numpy as np
import zarr

import appliance.on_import  # noqa: F401  # as the interpreter of an environment does
from appliance.data.repositories import repository
from appliance.data.stores import exists, remove_repository

BRANCH_MOVES = 10.0  # times as often as others, connections are cut that move the branch
ERRORS = (icechunk.ConflictError, icechunk.RebaseFailedError, icechunk.IcechunkError)
LENGTH = 128  # values of a commit: one chunk, which is an object of its own
SECONDS = 3000


class Cutter:
    """A port of this machine behind which an S3 endpoint answers, and whose connections are cut.

    Args:
        url: of the endpoint, ``http://HOST:PORT``.
        seed: of what is cut.
        share: of the pieces of questions and answers, how many end their connection.

    Attributes:
        port: of 127.0.0.1.
        cut: how many connections were.
        moves: how many of these were moving the branch.
        unanswered: how many of these in turn S3 had answered: the branch was moved or not, and the writer is not told.
        passed: pieces that were passed on.
    """

    def __init__(self, url: str, seed: int, share: float):
        target = urlsplit(url)
        assert target.scheme == "http", f"{url}: the connection must be in clear, to be cut where it matters"
        self._target = target.hostname, target.port or 80
        self._random, self._share = random.Random(seed), share
        self.cut = self.moves = self.unanswered = self.passed = 0
        ports = queue.Queue[int]()

        async def serve() -> None:
            own = await asyncio.start_server(self._join, "127.0.0.1", 0)
            ports.put(own.sockets[0].getsockname()[1])
            await own.serve_forever()

        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_until_complete, args=[serve()], daemon=True).start()
        self.port = ports.get(timeout=60)

    async def _join(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        try:
            server, questions = await asyncio.open_connection(*self._target)
        except OSError:
            answers.close()
            return
        moving = [False]  # whether what is asked moves the branch
        ways = [
            asyncio.ensure_future(self._pump(client, questions, moving, is_question=True)),
            asyncio.ensure_future(self._pump(server, answers, moving, is_question=False)),
        ]
        done, rest = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if any(way.result() for way in done):
            self.cut += 1
            self.moves += moving[0]
            self.unanswered += moving[0] and ways[1].done()
            for end in (questions, answers):
                own = end.get_extra_info("socket")
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no farewell
                end.transport.abort()
        for way in rest:
            way.cancel()
        questions.close()
        answers.close()

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, moving: list[bool], *, is_question: bool
    ) -> bool:
        """Pass on what comes. Returns whether the connection is to be cut, and not ended by one of its ends."""
        with suppress(OSError):
            while piece := await source.read(65536):
                if is_question and piece[:8].partition(b" ")[0] in (b"GET", b"PUT", b"HEAD", b"POST", b"DELETE"):
                    moving[0] = piece.startswith(b"PUT ") and b"/refs/branch." in piece.partition(b"\r\n")[0]
                if self._random.random() < self._share * (BRANCH_MOVES if moving[0] else 1.0):
                    if is_question and self._random.random() < 0.5:
                        half = piece[: len(piece) // 2] if self._random.random() < 0.5 else piece
                        target.write(half)  # S3 may have it, and answers nobody
                        await target.drain()
                    return True
                target.write(piece)
                await target.drain()
                self.passed += 1
        return False


def values_of(writer: int, number: int) -> Any:
    """What a commit writes."""
    return np.arange(LENGTH) + 1_000_000 * (writer + 1) + number * LENGTH


def key_of(snapshot: Any) -> tuple[int, int] | None:
    """Which commit a snapshot is, None for one of no writer's."""
    metadata = snapshot.metadata
    return (metadata["writer"], metadata["number"]) if "writer" in metadata else None


def committed(there: Any, newest: str, oldest: str, key: tuple[int, int]) -> str | None:
    """The snapshot of a commit, of those from the newest one back to an older one."""
    for each in there.ancestry(snapshot_id=newest):
        if key_of(each) == key:
            return str(each.id)
        if each.id == oldest:
            return None
    return None


def write(url: str, writer: int, commits: int) -> dict[str, Any]:
    """Commit, until each commit is known to be made. Every other writer lets Icechunk rebase; the rest begin anew."""
    solver = icechunk.BasicConflictSolver(on_chunk_conflict=icechunk.VersionSelection.UseOurs) if writer % 2 else None
    ledger: dict[str, Any] = {"snapshots": [], "attempts": 0, "conflicts": 0, "errors": 0, "found": 0}
    there = repository(url)
    for number in range(commits):
        began = None
        while True:
            ledger["attempts"] += 1
            try:
                session = there.writable_session("main")
                if began and (found := committed(there, session.snapshot_id, began, (writer, number))):
                    ledger["found"] += 1
                    ledger["snapshots"].append(found)
                    break
                began = began or session.snapshot_id
                array = zarr.open_array(session.store, path="values", mode="r+")
                array[writer, number] = values_of(writer, number)
                note = {"writer": writer, "number": number}
                ledger["snapshots"].append(session.commit(f"{writer}-{number}", note, rebase_with=solver))
                break
            except ERRORS as error:
                is_conflict = isinstance(error, (icechunk.ConflictError, icechunk.RebaseFailedError))
                ledger["conflicts" if is_conflict else "errors"] += 1
    return ledger


def judged(url: str, ledgers: list[dict[str, Any]], commits: int) -> dict[str, Any]:
    """What is wrong: commits that were acknowledged and are not there, are there twice, or whose values are not."""
    there = repository(url)
    snapshots = list(there.ancestry(branch="main"))
    ids = [each.id for each in snapshots]
    keys = Counter(key for each in snapshots if (key := key_of(each)))
    is_linear = len(set(ids)) == len(ids) and [each.parent_id for each in snapshots] == [*ids[1:], None]
    place = {each.id: key_of(each) for each in snapshots}
    array = zarr.open_array(there.readonly_session("main").store, path="values", mode="r")[:]
    lost = wrong = acknowledged = 0
    for writer, ledger in enumerate(ledgers):
        for number, snapshot in enumerate(ledger["snapshots"]):
            acknowledged += 1
            lost += place.get(snapshot) != (writer, number)
            wrong += not np.array_equal(array[writer, number], values_of(writer, number))
    return {
        "acknowledged": acknowledged,
        "in_history": sum(keys.values()),
        "lost": lost,
        "twice": sum(count > 1 for count in keys.values()),
        "wrong_values": wrong,
        "linear": is_linear and len(keys) + 2 == len(snapshots),  # with the array's, and Icechunk's first
        "asked_for": len(ledgers) * commits,
    }


def stress(url: str, writers: int, commits: int, seed: int, share: float) -> dict[str, Any]:
    """Make a repository, let writers commit to it, judge it, and remove it where nothing is wrong."""
    assert not exists(f"{url}/refs/branch.main/ref.json"), f"{url}: there is a repository"
    with repository(url, create=True).transaction("main", message="an array") as store:
        shape = (writers, commits, LENGTH)
        zarr.create_group(store).create_array(
            "values", shape=shape, chunks=(1, 1, LENGTH), dtype="i8", fill_value=-1, compressors=None
        )
    cutter = Cutter(os.environ["AWS_ENDPOINT_URL"], seed, share)
    environment = {**os.environ, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{cutter.port}"}
    began = time.monotonic()
    command = [sys.executable, __file__, url, "--commits", str(writers * commits), "--writers", str(writers)]
    running = [
        subprocess.Popen([*command, "--writer", str(number)], env=environment, stdout=subprocess.PIPE, text=True)
        for number in range(writers)
    ]
    try:
        ledgers = [json.loads(each.communicate(timeout=SECONDS)[0]) for each in running]
    finally:
        for each in running:
            each.kill()
            each.wait()
            if each.stdout:
                each.stdout.close()
    seconds = time.monotonic() - began
    figures = {name: sum(each[name] for each in ledgers) for name in ("attempts", "conflicts", "errors", "found")}
    made = judged(url, ledgers, commits)
    cuts = {"cut": cutter.cut, "cut_moves": cutter.moves, "cut_answers": cutter.unanswered, "passed": cutter.passed}
    made |= {**figures, **cuts, "seconds": round(seconds, 1), "writers": writers, "right": is_right(made)}
    if made["right"]:
        remove_repository(url)
    return made


def is_right(made: dict[str, Any]) -> bool:
    """Whether each commit that was asked for is acknowledged, and in a linear history once, with its values."""
    whole = made["asked_for"] == made["acknowledged"] == made["in_history"]
    return whole and made["linear"] and not made["lost"] + made["twice"] + made["wrong_values"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", metavar="s3://BUCKET/NAME", help="where the repository is made")
    parser.add_argument("--commits", type=int, default=60, help="of all writers together (default: 60)")
    parser.add_argument("--writers", type=int, default=4, help="processes (default: 4)")
    parser.add_argument("--seed", type=int, default=1, help="of what is cut (default: 1)")
    parser.add_argument("--cut", type=float, default=0.01, help="share of pieces that end a connection (default: 0.01)")
    parser.add_argument("--writer", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    each = options.commits // options.writers
    if options.writer is None:
        said = stress(options.url, options.writers, each, options.seed, options.cut)
    else:
        said = write(options.url, options.writer, each)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
