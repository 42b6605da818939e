"""Commands are run to their end, their words are kept, and Ansible's recap is summed over the hosts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from appliance.demo.site import CommandFailed, Play, play, recap, run

RECAP = """
TASK [verify : Say what worked] ************************************************
ok: [head1]

PLAY RECAP *********************************************************************
head1                      : ok=51   changed=2    unreachable=0    failed=0    skipped=4    rescued=0    ignored=0
store1                     : ok=40   changed=3    unreachable=0    failed=0    skipped=1    rescued=0    ignored=0

"""


def test_a_recap_is_summed_over_its_hosts() -> None:
    totals = recap(RECAP)
    assert (totals["ok"], totals["changed"], totals["skipped"]) == (91, 5, 5)
    assert Play(1.0, totals).changed == 5


def test_only_the_last_recap_counts() -> None:
    assert recap(RECAP + RECAP.replace("changed=3", "changed=0"))["changed"] == 2


@pytest.mark.parametrize("text", ["", "PLAY RECAP ****\n", "head1 : ok=1 changed=0\n"])
def test_words_without_a_recap_are_no_success(text: str) -> None:
    with pytest.raises(ValueError, match="no PLAY RECAP"):
        recap(text)


def test_a_command_that_fails_tells_its_end_its_status_and_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "fail.log"
    with pytest.raises(CommandFailed) as caught:
        run([sys.executable, "-c", "print('so far'); print('disk on fire'); raise SystemExit(3)"], log, os.environ)
    assert "disk on fire" in str(caught.value)
    assert "status 3" in str(caught.value)
    assert str(log) in str(caught.value)
    assert log.read_text() == "so far\ndisk on fire\n"


def test_tasks_are_told_as_they_start_and_the_play_is_summed_up(tmp_path: Path) -> None:
    script = tmp_path / "playbook"
    script.write_text(RECAP)
    tasks: list[str] = []
    done = play(
        [sys.executable, "-c", f"print(open({str(script)!r}).read())"],
        tmp_path / "log",
        os.environ,
        tasks.append,
        tmp_path,
    )
    assert tasks == ["verify : Say what worked"]
    assert done.changed == 5
    assert done.seconds > 0
