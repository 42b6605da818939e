"""A researcher's process on a machine of the rack, in the sandbox that all of them have; and root's, as a control."""

from __future__ import annotations

import base64
import json
import secrets
import shlex
from typing import Any

from machines import ask

from appliance.researcher.sandbox import SANDBOX, Properties, as_lines

# What a program is helped by: `attempt` calls a function and tells what it returned, or the name of the error.
PRELUDE = """
import errno, json, os, socket, subprocess, sys

def attempt(function, *arguments):
    try:
        return function(*arguments) or "done"
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)

def say(value):
    print(json.dumps(value), flush=True)
"""
PYTHON = "/usr/bin/python3.13"


def command(
    user: str,
    program: str,
    interpreter: str = PYTHON,
    slice_: str = "notebooks.slice",
    properties: Properties = SANDBOX,
) -> str:
    """Return the shell command that runs a Python program as ``user``; root runs outside of any sandbox."""
    # Not on the command line as it is: the program's own text must not be what it finds there.
    source = base64.b64encode((PRELUDE + program).encode()).decode()
    words = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--unit=test-{secrets.token_hex(4)}"]
    if user != "root":
        words += [f"--uid={user}", f"--slice={slice_}", "--property=RuntimeMaxSec=120"]
        words += [f"--property={line}" for line in as_lines(properties)]
    return shlex.join([*words, interpreter, "-c", f"import base64; exec(base64.b64decode('{source}'))"])


def run(machine: str, user: str, program: str, interpreter: str = PYTHON, **unit: Any) -> Any:
    """Run a program on a machine as a researcher, or as root, and return what it says; ``unit`` as of `command`."""
    return json.loads(ask(machine, command(user, program, interpreter, **unit)))
