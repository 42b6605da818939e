"""Each wrong inventory is refused with its variable, its value and the way out; right ones pass, odd as they may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from right_inventories import RIGHT
from site_inventories import Loaded, catalogue, example
from wrong_inventories import WRONG

from appliance.preflight import Facility, Fault, judge


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(example(tmp_path_factory.mktemp("inventories") / "example").root)


def faults(loaded: Loaded, tmp_path: Path, changes: dict[str, Any]) -> list[Fault]:
    given = tmp_path / "changes.yml"
    given.write_text(yaml.safe_dump(changes))
    return judge(Facility.from_request(loaded.request(given), catalogue()))


@pytest.mark.parametrize(("changes", "variable", "words"), WRONG, ids=[str(row[0])[:80] for row in WRONG])
def test_a_wrong_inventory_is_refused(
    loaded: Loaded, tmp_path: Path, changes: dict[str, Any], variable: str, words: str
) -> None:
    found = faults(loaded, tmp_path, changes)
    told = [fault for fault in found if fault.variable == variable and words in f"{fault.value} {fault.fix}"]
    assert told, found


@pytest.mark.parametrize("changes", RIGHT, ids=[str(row)[:80] for row in RIGHT])
def test_a_right_inventory_passes_odd_as_it_is(loaded: Loaded, tmp_path: Path, changes: dict[str, Any]) -> None:
    assert faults(loaded, tmp_path, changes) == []


def test_there_are_as_many_as_were_promised() -> None:
    assert len({str(row[0]) for row in WRONG}) >= 150
    assert len(RIGHT) >= 20


JUNK = [
    None,
    "",
    "x",
    -1,
    0,
    10**30,
    float("nan"),
    float("inf"),
    True,
    [],
    [None],
    [[]],
    [{}],
    {},
    {"a": None},
    {1: [{}]},
]


@pytest.mark.parametrize("shift", range(2))
def test_whatever_a_variable_holds_no_check_ends_with_an_error(loaded: Loaded, shift: int) -> None:
    request = loaded.request()
    for number, name in enumerate(catalogue().public_variables):
        junk = JUNK[(number + shift * len(JUNK) // 2) % len(JUNK)]
        values = {host: {**given, name: junk} for host, given in request["hostvars"].items()}
        judge(Facility.from_request({**request, "hostvars": values}, catalogue()))


@pytest.mark.parametrize("junk", JUNK, ids=map(str, JUNK))
def test_whatever_all_variables_hold_no_check_ends_with_an_error(loaded: Loaded, junk: object) -> None:
    request = loaded.request()
    values = {host: dict.fromkeys(catalogue().public_variables, junk) for host in request["hostvars"]}
    assert judge(Facility.from_request({**request, "hostvars": values}, catalogue()))


def test_all_variables_that_hold_nothing_of_use_are_faults_at_once(loaded: Loaded) -> None:
    request = loaded.request()
    asked = catalogue()
    request["hostvars"] = {host: {name: {"a": [1]} for name in asked.public_variables} for host in request["hostvars"]}
    faults = judge(Facility.from_request(request, asked))
    named = {fault.variable.partition(".")[0].partition("[")[0] for fault in faults}
    # Variables of roles that site.yml runs; `leaving` runs by a playbook of its own.
    options = [option for found in asked.options.values() for option in found.values() if asked.plays_of(option.name)]
    assert {option.name for option in options if option.type != "dict" and not option.secret} <= named
