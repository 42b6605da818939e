"""A researcher's Python on the head without a browser: the notebook's environment, in a unit as a notebook is."""

from __future__ import annotations

import json
import secrets
import shlex
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from appliance.demo.facility import Facility
from appliance.rack import lifecycle
from appliance.researcher.environment import (
    Addresses,
    common_environment,
    credential,
    gateway_environment,
    keys_file,
)
from appliance.researcher.sandbox import SANDBOX, as_lines
from appliance.verify.hub import HubSession

SESSION_SECONDS = 600
# A kernel in a dozen lines: runs cells, one JSON string a line, in one namespace; answers with what `say` was given.
KERNEL = """
import json, os, sys, time, traceback

def say(**values):
    global said
    said = values

# What a cell prints is not taken for its answer: it comes with the errors.
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    said = {}
    try:
        exec(json.loads(line), globals())
    except BaseException as error:
        said = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
    print(json.dumps(said), file=answers, flush=True)
"""


class CellError(Exception):
    """A cell failed; the message is its error."""


class Researcher:
    """One researcher with a token of the hub's, for ``seconds`` at most.

    Programs say JSON objects, one a line, and listen to lines.
    """

    def __init__(self, facility: Facility, user: str, seconds: int = SESSION_SECONDS):
        self.facility, self.user, self._seconds = facility, user, seconds
        self._hub = HubSession(facility.front, user)

    def __enter__(self) -> Researcher:
        self._hub.log_in(self.facility.password(self.user))
        self._token_id, token = self._hub.token(self._seconds)
        self._token_file = f"/run/test-token-{secrets.token_hex(4)}"
        self.facility.run("head1", "install", "-m", "0400", "/dev/stdin", self._token_file, given=token.encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.facility.run("head1", "rm", "-f", self._token_file)
        self._hub.revoke(self._token_id)
        self._hub.log_out()

    def notebook(self) -> Notebook:
        """Start a Python of the researcher's."""
        name = f"test-{self.user}-{secrets.token_hex(4)}"
        unit = f"{name}.service"
        environment = self.facility.run("head1", "readlink", "-f", "/opt/appliance/analysis").decode().strip()
        facts = self.facility.facts
        addresses = Addresses(facts["s3_endpoint_url"], facts["s3_endpoint_placement_url"])
        home = f"/home/{self.user}"
        variables = {
            "HOME": home,
            **common_environment(unit, environment, addresses),
            **gateway_environment(self.user, environment, facts["gateway_url"], facts["gateway_proxy_address"]),
        }
        properties: dict[str, str | list[str]] = {
            **SANDBOX,
            "LoadCredential": [
                f"s3:{keys_file(facts['ceph_s3_users_directory'], self.user)}",
                f"token:{self._token_file}",
            ],
            "ProtectHome": "tmpfs",
            "BindPaths": home,
            "RuntimeMaxSec": str(self._seconds),
        }
        # Not quiet: what it says last is why a Python ended that a signal or the limit of its time has ended.
        command = ["systemd-run", "--wait", "--pipe", "--collect", f"--unit={unit}", f"--uid={self.user}"]
        command += ["--slice=notebooks.slice", *(f"--property={line}" for line in as_lines(properties))]
        command += [f"--setenv={name}={value}" for name, value in variables.items()]
        shell = f'JUPYTERHUB_API_TOKEN="$(cat {credential(unit, "token")})" exec "$@"'
        command += ["/bin/sh", "-c", shell, "sh", f"{environment}/bin/python", "-c", KERNEL]
        return Notebook([*lifecycle.ssh_command(self.facility.rack, "head1"), "--", shlex.join(command)])


@contextmanager
def prepared_notebook(
    facility: Facility, user: str, first: str, last: str, seconds: int = SESSION_SECONDS
) -> Iterator[Notebook]:
    """A researcher's notebook in which a first cell has run; the last one runs in the end, whatever comes between."""
    with Researcher(facility, user, seconds) as researcher, researcher.notebook() as notebook:
        try:
            notebook.run(first)
            yield notebook
        finally:
            notebook.run(last)


class Notebook:
    """A Python that runs cells."""

    def __init__(self, command: list[str]):
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Notebook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()  # its cells end with its input

    def submit(self, cell: str) -> None:
        """Start a cell; `result` waits for its end."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(textwrap.dedent(cell)) + "\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """What the cell said; raises `CellError` where it failed."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate()
            raise RuntimeError(f"the Python ended with {self._process.returncode}: {errors[-3000:]}")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise CellError(said["error"]) from RuntimeError(said["trace"])
        return said

    def run(self, cell: str) -> dict[str, Any]:
        """Run a cell and return what it said."""
        self.submit(cell)
        return self.result()
