"""A kernel in a researcher's real notebook server, and cells that run in it."""

from __future__ import annotations

import json
import urllib.request
from types import TracebackType
from typing import Any

from hub_session import HubSession
from intruder import run
from machines import FACILITY, ask

ENVIRONMENT_PYTHON = "/opt/appliance/analysis/bin/python"
# Run in each kernel first. `say` ends a cell's answer; `outcome` calls a function and tells the name of its error.
PRELUDE = """
import errno, json, os, threading
def say(value):
    print("SAID" + json.dumps(value))
def outcome(function, *arguments):
    try:
        return function(*arguments) or "done"
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)
def fill(path, most, step=2**20):
    # How many bytes a file takes until it takes no more, and why; at most so many.
    size, reason = 0, "took all"
    with open(path, "wb", buffering=0) as file:
        try:
            while size < most:
                size += file.write(bytes(step))
        except OSError as error:
            reason = errno.errorcode[error.errno]
    os.unlink(path)
    return [size, reason]
"""
CLIENT = """
from jupyter_client import BlockingKernelClient
client = BlockingKernelClient(connection_file={connection!r})
client.load_connection_file()
client.start_channels()
client.wait_for_ready(timeout=60)
said = []
def hear(message):
    content = message["content"]
    said.append(content.get("text", "") or "\\n".join(content.get("traceback", [])))
client.execute_interactive({cell!r}, timeout={seconds}, output_hook=hear)
client.stop_channels()
say("".join(said))
"""


class Kernel:
    """One kernel of a researcher's server, for as long as the block lasts."""

    def __init__(self, user: str) -> None:
        self.user, self.unit = user, f"jupyter-{user}-singleuser"
        self._hub = HubSession(FACILITY.front, user)

    def __enter__(self) -> Kernel:
        self._hub.log_in(FACILITY.password(self.user))
        self._hub.stop()
        self._hub.start()
        tokens = f"/hub/api/users/{self.user}/tokens"
        self._token = json.loads(self._hub.ask(tokens, data=b'{"expires_in": 1200}'))["token"]
        self.begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.stop()

    def begin(self) -> None:
        """Start a kernel, and wait until it listens."""
        kernel: dict[str, Any] = json.loads(self._server("kernels", b"{}"))
        self._id = kernel["id"]
        self._connection = f"/run/{self.unit}/kernel-{self._id}.json"
        ask("head1", f"until [ -S {self._connection[:-5]}-ipc-1 ]; do sleep 0.1; done")
        self.run(PRELUDE + "say(0)")

    def restarts(self) -> int:
        """The process of the server's unit; another one where it was started anew."""
        return int(ask("head1", f"systemctl show --value --property=MainPID {self.unit}"))

    def run(self, cell: str, seconds: int = 120) -> Any:
        """Run a cell, and return what it says."""
        program = CLIENT.format(connection=self._connection, cell=cell, seconds=seconds)
        said: str = run("head1", self.user, program, ENVIRONMENT_PYTHON)
        assert "SAID" in said, said
        # A warning may come after it, on the other stream.
        return json.loads(said.rpartition("SAID")[2].splitlines()[0])

    def submit(self, cell: str) -> None:
        """Start a cell and wait for nothing."""
        program = f"""
from jupyter_client import BlockingKernelClient
client = BlockingKernelClient(connection_file={self._connection!r})
client.load_connection_file()
client.start_channels()
client.wait_for_ready(timeout=60)
client.execute({cell!r})
while client.get_iopub_msg(timeout=60)["content"].get("execution_state") != "busy":
    pass
client.stop_channels()
say(0)
"""
        run("head1", self.user, program, ENVIRONMENT_PYTHON)

    def _server(self, path: str, data: bytes | None = None) -> bytes:
        asked = urllib.request.Request(  # noqa: S310
            f"{FACILITY.front.of(self.user)}/user/{self.user}/api/{path}",
            data=data,
            headers={"Authorization": f"token {self._token}"},
        )
        with FACILITY.front.opener().open(asked, timeout=60) as answer:
            content: bytes = answer.read()
            return content
