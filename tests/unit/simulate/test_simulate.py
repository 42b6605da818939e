"""The simulator: what comes out of small cells is what arithmetic says, and the command says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli import main
from appliance.simulate.engine import Run, stream
from appliance.simulate.model import Cell, make_map


@pytest.mark.parametrize(("hosts", "replicas"), [(1, 1), (6, 2), (24, 3), (100, 3)])
def test_a_made_map_is_whole_and_even(hosts: int, replicas: int) -> None:
    made = make_map(hosts, replicas, seed=1)
    (pool,) = made.pools.values()
    held = [0] * hosts
    for row in pool.acting.tolist():
        assert len(set(row)) == replicas
        for host in row:
            held[host] += 1
    assert max(held) <= 1.1 * pool.pg_num * replicas / hosts
    assert make_map(hosts, replicas, seed=1).pools == made.pools


# The shares that the best of all schedules has: of k objects with three replicas, most on one of 6 or of 24 hosts.
@pytest.mark.parametrize(
    ("hosts", "objects", "best"),
    [(6, 1, 1.0), (6, 2, 0.97), (6, 4, 0.83), (6, 8, 0.74), (24, 2, 0.67), (24, 4, 0.53), (24, 8, 0.40)],
)
def test_local_shares_reach_the_best_possible(hosts: int, objects: int, best: float) -> None:
    result = Run(Cell(hosts, 3, 2, objects, 3000 * objects), seed=1).result()
    assert result.best_share == pytest.approx(best, abs=0.015)
    assert result.local_share >= 0.99 * result.best_share
    assert result.wire_per_byte == pytest.approx(1.0 - result.local_share)
    assert result.wire_per_byte < result.wire_per_byte_blind
    assert result.balance <= 1.1  # of hosts that hold two objects of a task, few have a choice


def test_more_replicas_are_more_even_and_idle_less() -> None:
    one, two, three = (Run(Cell(50, replicas, 2, 1, 10_000), seed=1).result() for replicas in (1, 2, 3))
    assert one.balance > two.balance >= three.balance >= 1.0
    assert one.idle_share > two.idle_share >= three.idle_share >= 0.0
    assert two.balance <= 1.05
    assert min(one.local_share, two.local_share, three.local_share) >= 0.99


def test_a_long_analysis_is_sampled_in_its_steady_state() -> None:
    result = Run(Cell(20, 3, 4, 1, 10**8), seed=1, tasks_max=4000).result()
    assert (result.sampled, result.tasks_run) == (True, 4000)
    assert result.local_share == 1.0
    assert result.idle_share <= 0.001


def test_a_cell_gives_the_same_again() -> None:
    first, second = (Run(Cell(10, 2, 3, 2, 2000), seed=4).result().to_dict() for _ in range(2))
    for timed in ("place_us", "decide_us"):
        assert first.pop(timed) > 0
        del second[timed]
    assert first == second


def test_streaming_places_each_chunk() -> None:
    steps: list[int] = []
    us, balance = stream(10, 3, 150_000, seed=1, step=steps.append)
    assert sum(steps) == 150_000
    assert us > 0
    assert 1.0 <= balance <= 1.05


def call(*arguments: str) -> tuple[int, str]:
    answer = CliRunner().invoke(main, ["simulate", *arguments])
    return answer.exit_code, answer.stdout + answer.stderr


def test_the_command_writes_lines_a_table_and_a_picture(tmp_path: Path) -> None:
    small = ("--hosts", "3,6", "--replicas", "2", "--chunks", "300")
    picture = tmp_path / "cells.png"
    code, text = call(*small, "--json", "--plot", str(picture))
    assert code == 0
    cells = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert [(cell["hosts"], cell["chunks"]) for cell in cells] == [(3, 300), (6, 300)]
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, text = call(*small)
    assert code == 0
    assert text.count("300") >= 2
    code, text = call("--hosts", "5", "--replicas", "2", "--stream", "1e3", "--json")
    assert code == 0
    assert '"chunks": 1000' in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--hosts", "ten"), ("--hosts", "'ten'", "such as 10,100")),
        (("--hosts", "0"), ("--hosts", "'0'", "1 or more")),
        (("--hosts", "2", "--replicas", "3"), ("replicas is 3", "2 hosts", "give 2 or fewer")),
        (("--objects", "8", "--chunks", "5"), ("chunks is 5", "give 8 or more")),
        (("--plot", "nowhere/at/all.png"), ("--plot", "nowhere/at/all.png", "make it, or give another")),
    ],
)
def test_the_command_says_what_is_wrong_before_it_starts(arguments: tuple[str, ...], said: tuple[str, ...]) -> None:
    code, text = call(*arguments)
    assert code != 0
    for words in said:
        assert words in text
