"""A lasting connection to the cluster's monitors."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypedDict, cast

from appliance.placement.errors import ClusterError


class Answer(TypedDict):
    """A line of ``rados_helpers/monitor.py``: an errno, what was asked for, and words for people."""

    code: int
    out: str
    status: str


@dataclass(frozen=True)
class CephClientOptions:
    """How to reach the cluster: Ceph's user and its files, and the Python that has Ceph's bindings."""

    user: str
    conf: Path
    keyring: Path
    python: str = "/usr/bin/python3"
    timeout: int = 10  # seconds for one question


@dataclass
class Monitors:
    """A lasting connection to the monitors, made when first needed and anew after a failure. For one thread."""

    options: CephClientOptions
    _process: subprocess.Popen[bytes] | None = None
    _pending: bytes = b""

    def ask(self, command: Mapping[str, object], to: str = "mon") -> Any:
        """Return the parsed JSON answer of a monitor or (``to="mgr"``) of the manager, or raise ``ClusterError``."""
        process = self._connect()
        question = json.dumps({"to": to, "command": dict(command)}) + "\n"
        try:
            stdin = cast(IO[bytes], process.stdin)
            stdin.write(question.encode())
            stdin.flush()
        except BrokenPipeError:
            raise self._lost(process, "the connection to the monitors ended") from None
        answer = self._line(process, f"no answer to {command['prefix']!r}")
        if answer["code"]:
            why = answer["status"] or os.strerror(answer["code"])
            raise ClusterError(f"client.{self.options.user} asked {command['prefix']!r}: {why}")
        try:
            return json.loads(answer["out"])
        except ValueError as error:
            raise ClusterError(f"the answer to {command['prefix']!r} is no JSON ({error})") from error

    def close(self) -> None:
        """End the connection."""
        process, self._process, self._pending = self._process, None, b""
        if process is not None:
            process.kill()
            process.communicate()

    def _connect(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            script = Path(__file__).with_name("rados_helpers") / "monitor.py"
            options = self.options
            arguments = ["--id", options.user, "--conf", str(options.conf), "--keyring", str(options.keyring)]
            # -I: this script's folder, with modules of common names in it, stays off the other Python's path.
            command = [options.python, "-I", str(script), *arguments, "--timeout", str(options.timeout)]
            pipe = subprocess.PIPE
            try:
                self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
            except OSError as error:
                raise ClusterError(f"{options.python} cannot be started: {error}") from error
            self._line(self._process, "no connection to the monitors")
        return self._process

    def _line(self, process: subprocess.Popen[bytes], otherwise: str) -> Answer:
        stdout = cast(IO[bytes], process.stdout)
        deadline = time.monotonic() + self.options.timeout + 2  # the script gives up first, and says why
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                raise self._lost(process, f"{otherwise} in {self.options.timeout} s")
            piece = os.read(stdout.fileno(), 2**20)
            if not piece:
                raise self._lost(process, otherwise)
            self._pending += piece
        line, _, self._pending = self._pending.partition(b"\n")
        document: Answer = json.loads(line)
        return document

    def _lost(self, process: subprocess.Popen[bytes], why: str) -> ClusterError:
        self._process, self._pending = None, b""
        process.kill()
        said = process.communicate()[1].decode(errors="replace").strip()
        return ClusterError(f"{why}: {said.splitlines()[-1]}" if said else why)
