"""Messages between the gateway and a host: what one end writes the other reads, and nothing else is taken."""

from __future__ import annotations

import json
import string
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from launching_examples import SECRETS, start_scheduler, start_worker

from appliance.launching.protocol import (
    REQUEST_BYTES_MAX,
    Failed,
    Message,
    Refused,
    RefusedError,
    Running,
    Started,
    StartScheduler,
    StartWorker,
    Status,
    Stop,
    Stopped,
    parse_answer,
    parse_request,
    unit_name,
)

# Examples are many and not timed: how long one takes is the machine's affair.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

hex_names = st.text("0123456789abcdef", min_size=32, max_size=32)
names = st.from_regex(r"[a-z][a-z0-9-]{1,30}[a-z0-9]", fullmatch=True)
whole = st.integers(min_value=1)
seconds = st.floats(0, 10**9) | st.integers(0, 10**9)
secrets = st.text(string.printable, min_size=1)
units = st.builds(unit_name, names, hex_names, hex_names | st.just(""))
of_start = {
    "user": names,
    "cluster": hex_names,
    "environment": names.map(lambda name: f"/nix/store/{name}"),
    "memory": whole,
    "cores": whole,
    "token": secrets,
    "tls_cert": secrets,
    "tls_key": secrets,
}
requests = st.one_of(
    st.builds(StartScheduler, **of_start, heartbeat_period=seconds, adaptive_period=seconds, idle_timeout=seconds),
    st.builds(
        StartWorker,
        **of_start,
        worker=hex_names,
        threads=whole,
        scheduler_address=st.integers(1, 65535).map(lambda port: f"tls://10.0.0.1:{port}"),
    ),
    st.builds(Stop, user=names, cluster=hex_names, worker=hex_names | st.just("")),
    st.builds(Status, user=names, cluster=hex_names),
)
answers = st.one_of(
    st.builds(Started, unit=units),
    st.builds(Stopped, unit=units),
    st.builds(Running, units=st.lists(units).map(tuple)),
    st.builds(Refused, reason=st.text()),
    st.builds(Failed, reason=st.text()),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@untimed
@given(requests)
def test_a_request_is_read_as_it_was_written(request: Message) -> None:
    assert parse_request(request.to_json().encode()) == request


@untimed
@given(answers)
def test_an_answer_is_read_as_it_was_written(answer: Message) -> None:
    assert parse_answer(answer.to_json().encode()) == answer


@untimed
@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_message_is_refused_and_raises_nothing_else(text: bytes) -> None:
    for parse in (parse_request, parse_answer):
        with pytest.raises(RefusedError):
            parse(text)


@untimed
@given(requests, st.data())
def test_a_request_with_a_field_of_any_value_is_read_or_refused(request: Message, data: st.DataObject) -> None:
    fields = json.loads(request.to_json())
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(json_values)
    try:
        read = parse_request(json.dumps(fields).encode())
    except RefusedError:
        return
    # What is taken is a value that the field may have: it survives the way there once more.
    assert asdict(read) == {key: value for key, value in fields.items() if key != "type"}
    assert parse_request(read.to_json().encode()) == read


@pytest.mark.parametrize("name", [*asdict(start_worker()), "type"])
def test_a_request_without_a_field_is_refused_by_its_name(name: str) -> None:
    fields = json.loads(start_worker().to_json())
    del fields[name]
    with pytest.raises(RefusedError, match=f"^{name}: "):
        parse_request(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"unit": "ceph-osd@1.service"}, "'unit': there is no such field"),
        ({"user": ""}, "user = ''"),
        ({"user": "a\nb"}, r"user = 'a\\nb'"),
        ({"user": ["nobody"]}, r"user = \['nobody'\]"),
        ({"cluster": "x; reboot"}, "cluster = 'x; reboot'"),
        ({"cluster": "c" * 31}, "cluster = 'c+'"),
        ({"worker": "../../etc"}, "worker = '../../etc'"),
        ({"worker": ""}, "worker = ''"),
        ({"type": "Shell"}, "type: give one of StartScheduler, StartWorker, Stop, Status"),
        ({"type": ["Stop"]}, "type: give one of"),
        ({"memory": -1}, "memory = -1"),
        ({"memory": 1.5}, "memory = 1.5"),
        ({"cores": True}, "cores = True"),
        ({"threads": 0}, "threads = 0"),
        ({"environment": "mine"}, "environment = 'mine'"),
        ({"scheduler_address": "--preload=evil"}, "scheduler_address = '--preload=evil'"),
    ],
)
def test_a_wrong_field_is_refused_with_its_value(change: dict[str, Any], says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        parse_request(json.dumps({**json.loads(start_worker().to_json()), **change}).encode())


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1", '"5"', "1e400", "true", "1000000001"])
def test_a_period_is_a_number_of_seconds(value: str) -> None:
    text = start_scheduler(idle_timeout=77).to_json().replace("77", value)
    with pytest.raises(RefusedError, match=r"^idle_timeout = .*give seconds from 0"):
        parse_request(text.encode())


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("value", [["canary"], "canary\0", "canar\u00ff", "canary" * 2**14])
def test_a_wrong_secret_is_named_and_not_shown(secret: str, value: object) -> None:
    with pytest.raises(RefusedError, match=f"^{secret}: give a text of at most") as caught:
        parse_request(json.dumps({**json.loads(start_worker().to_json()), secret: value}).encode())
    assert "canar" not in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    fields = {**json.loads(start_worker().to_json()), "cores": 0, "threads": 0, "colour": "blue"}
    with pytest.raises(RefusedError, match=r"colour.*; cores = 0.*; threads = 0"):
        parse_request(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[" * 100_000, "no JSON: RecursionError"),
        (b'{"type": "Status", "user": "a", "user": "b"}', "there twice"),
        (b"\xff\xfe{\0}\0", "no JSON: UnicodeDecodeError"),
        (b" " * (REQUEST_BYTES_MAX + 1), "longer than"),
        (b"9" * 5000, "no JSON"),
    ],
)
def test_json_that_asks_for_trouble_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        parse_request(text)


def test_a_request_that_is_shown_shows_no_secret() -> None:
    for request in (start_scheduler(), start_worker()):
        assert "canary" not in repr(request)
        assert "canary-key" in request.to_json()


@untimed
@given(names, hex_names, hex_names | st.just(""), names)
def test_no_unit_of_one_user_is_one_of_another(user: str, cluster: str, worker: str, other: str) -> None:
    if user != other:
        assert unit_name(user, cluster, worker) != unit_name(other, cluster, worker)


def test_a_unit_of_a_user_whose_name_begins_alike_is_not_in_ones_pattern() -> None:
    assert not unit_name("a-b", "c" * 32).startswith(f"dask-a-{'c' * 32}-")
