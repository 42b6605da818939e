"""A unit restarts or is reloaded if, and only if, it runs and works with something else than its files hold."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule

import current_units

Answer = Callable[..., dict[str, Any]]


class Machine:
    """systemd and its units: ``files`` has a running unit's unit files, ``commands`` what was done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, str] = {}
        self.commands: list[str] = []
        self.broken = ""

    def run(self, unit: str, **credentials: str) -> None:
        """A unit starts with credentials, whose files have the same texts."""
        lines = [f"LoadCredential={name}:{self.file(name, text)}" for name, text in credentials.items()]
        self.files[unit] = "\n".join(["[Service]", "ExecStart=/bin/true", *lines])
        for name, text in credentials.items():
            self.held(unit, name, text)

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def held(self, unit: str, name: str, text: str) -> None:
        path = self.folder / "credentials" / unit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def command(self, _: object, words: list[str]) -> tuple[int, str, str]:
        """Answer as systemctl and curl do."""
        if words[:3] == ["systemctl", "--quiet", "is-active"]:
            return (0 if words[3] in self.files else 3), "", ""
        if words[:2] == ["systemctl", "cat"]:
            return 0, self.files[words[2]], ""
        if words[:2] == ["systemctl", "show"]:
            return 0, f"{os.getpid()}\n", ""
        said = " ".join((*words[:1], *words[-1:])) if words[0] == "curl" else " ".join(words[1:])
        self.commands.append(said)
        return (1, "", "no such thing") if self.broken and self.broken in said else (0, "", "")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(current_units, "HELD", tmp_path / "credentials")
    monkeypatch.setattr(AnsibleModule, "run_command", lambda module, words: machine.command(module, words))
    return machine


def test_who_holds_what_the_files_have_goes_on(answer: Answer, machine: Machine) -> None:
    machine.run("a.service", token="1", key="2")
    said = answer(current_units, units=[{"name": "a.service"}])
    assert (said["changed"], said["restarted"], machine.commands) == (False, [], [])


def test_who_holds_an_older_one_restarts_and_no_other(answer: Answer, machine: Machine) -> None:
    machine.run("a.service", token="1", key="2")
    machine.run("b.service", other="3")
    machine.file("key", "new")
    said = answer(current_units, units=[{"name": "a.service"}, {"name": "b.service"}])
    assert (said["changed"], said["restarted"]) == (True, ["a.service"])
    assert machine.commands == ["daemon-reload", "restart a.service"]


def test_the_next_waits_for_the_answer_of_the_one_before(answer: Answer, machine: Machine) -> None:
    for unit in ("a.service", "b.service"):
        machine.run(unit, token="1")
    machine.file("token", "2")
    answer(current_units, units=[{"name": "b.service", "answers_at": "http://x/"}, {"name": "a.service"}])
    assert machine.commands == [
        "daemon-reload", "restart b.service", "curl http://x/", "daemon-reload", "restart a.service"
    ]  # fmt: skip


def test_a_unit_whose_files_name_one_more_or_another_file_restarts(answer: Answer, machine: Machine) -> None:
    machine.run("a.service", token="1")
    machine.files["a.service"] += f"\n# a drop-in\n[Service]\nLoadCredential=more:{machine.file('more', '2')}"
    assert answer(current_units, units=[{"name": "a.service"}])["restarted"] == ["a.service"]
    machine.run("a.service", token="1")
    machine.files["a.service"] += f"\nLoadCredential=token:{machine.file('elsewhere', '2')}"
    assert answer(current_units, units=[{"name": "a.service"}])["restarted"] == ["a.service"]
    machine.run("a.service", token="1", gone="2")
    machine.files["a.service"] += f"\nLoadCredential=\nLoadCredential=token:{machine.folder / 'token'}"
    machine.file("gone", "not its own any more")
    assert answer(current_units, units=[{"name": "a.service"}])["restarted"] == []


def test_a_unit_that_does_not_run_or_could_not_start_is_left(answer: Answer, machine: Machine) -> None:
    machine.run("a.service", token="1", key="2")
    machine.file("token", "new")
    (machine.folder / "key").unlink()
    said = answer(current_units, units=[{"name": "a.service"}, {"name": "stopped.service"}])
    assert (said["restarted"], machine.commands) == ([], [])


def test_a_check_run_tells_and_restarts_nothing(answer: Answer, machine: Machine) -> None:
    machine.run("a.service", token="1")
    machine.file("token", "2")
    said = answer(current_units, check=True, units=[{"name": "a.service", "answers_at": "http://x/"}])
    assert (said["changed"], said["restarted"], machine.commands) == (True, ["a.service"], [])


@pytest.mark.parametrize("broken", ["restart a.service", "curl http://x/"])
def test_one_that_does_not_come_back_ends_the_run(broken: str, answer: Answer, machine: Machine) -> None:
    for unit in ("a.service", "b.service"):
        machine.run(unit, token="1")
    machine.file("token", "2")
    machine.broken = broken
    said = answer(current_units, units=[{"name": "a.service", "answers_at": "http://x/"}, {"name": "b.service"}])
    assert said["failed"] is True
    assert said["msg"].startswith("a.service: ")
    assert "restart b.service" not in machine.commands


def test_a_unit_is_reloaded_for_a_file_that_changed_after_its_newest_process_started(
    answer: Answer, machine: Machine
) -> None:
    """The unit's processes are this one and its children: all of them began before this test wrote a file."""
    machine.run("a.service", token="1")
    read = [sys.executable, str(machine.folder / "missing")]
    unit = {"name": "a.service", "reloads_for": read}
    assert answer(current_units, units=[unit])["changed"] is False
    read.append(str(machine.file("configuration", "new")))
    said = answer(current_units, units=[unit])
    assert (said["changed"], said["restarted"], said["reloaded"]) == (True, [], ["a.service"])
    assert machine.commands == ["daemon-reload", "reload a.service"]
    # A restart reads it, too.
    machine.file("token", "2")
    said = answer(current_units, units=[unit])
    assert (said["restarted"], said["reloaded"]) == (["a.service"], [])


def test_a_process_that_a_unit_started_anew_is_its_newest() -> None:
    before = current_units.newest_start(os.getpid())
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE):
        during = current_units.newest_start(os.getpid())
    assert current_units.newest_start(os.getpid()) == pytest.approx(before, abs=0.1)
    assert during > before + 0.1
