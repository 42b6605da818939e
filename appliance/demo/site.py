"""Runs the operator's commands as an operator would, shows where they are, and keeps all that they say."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TASK = re.compile(r"^(?:TASK|RUNNING HANDLER|PLAY) \[(.*)\] \*+$")
_HOST = re.compile(r"^(\S+)\s*:\s*(ok=\d+.*)$")
_LAST_LINES = 60


class CommandFailed(RuntimeError):  # noqa: N818  (reads as what happened)
    """A command ended with an error; the message holds its last lines and where the rest is."""


@dataclass(frozen=True)
class Play:
    """A run of the site's playbook: how long it took in s, and the sum over the hosts of each figure of the recap."""

    seconds: float
    totals: Mapping[str, int]

    @property
    def changed(self) -> int:
        """How many tasks changed something, on all hosts together."""
        return self.totals["changed"]


def run(
    command: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str],
    said: Callable[[str], None] = lambda _line: None,
    directory: Path | None = None,
) -> str:
    """Run ``command`` to its end, write what it says to ``log``, tell each line to ``said``, and return it all.

    Raises:
        CommandFailed: it ended with another status than 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            cwd=directory,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101  (asked for above)
        for line in process.stdout:
            file.write(line)
            file.flush()
            lines.append(line)
            said(line.rstrip())
    if process.returncode:
        words = " ".join(str(word) for word in command)
        end = "".join(lines[-_LAST_LINES:])
        raise CommandFailed(
            f"{words}\nended with status {process.returncode}. All it said is in {log}; the end:\n{end}"
        )
    return "".join(lines)


def play(
    command: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str],
    on_task: Callable[[str], None],
    directory: Path,
) -> Play:
    """Run an ``ansible-playbook`` command, tell ``on_task`` each task's name as it starts, and sum up the recap."""

    def said(line: str) -> None:
        if task := _TASK.match(line):
            on_task(task[1])

    start = time.monotonic()
    text = run(command, log, {**environment, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}, said, directory)
    return Play(time.monotonic() - start, recap(text))


def recap(text: str) -> dict[str, int]:
    """Sum the figures of Ansible's PLAY RECAP over its hosts.

    Raises:
        ValueError: the text holds no recap.
    """
    _, found, tail = text.rpartition("PLAY RECAP ")
    hosts = [match[2] for line in tail.splitlines() if (match := _HOST.match(line))]
    if not found or not hosts:
        raise ValueError("there is no PLAY RECAP with a host in what ansible-playbook said")
    totals: dict[str, int] = {}
    for figures in hosts:
        for name, number in re.findall(r"(\w+)=(\d+)", figures):
            totals[name] = totals.get(name, 0) + int(number)
    return totals
