"""What the launcher refuses, and what it puts together. It starts units on the rack (tests/rack/test_compute.py)."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from launching_examples import CLUSTER, NOBODY, SECRETS, WORKER, host, start_scheduler, start_worker

import appliance
from appliance.launching.free_ports import take
from appliance.launching.launcher import RefusedError, check_start, check_user, handle
from appliance.launching.launcher_settings import LauncherSettings
from appliance.launching.protocol import Start, Status, Stop
from appliance.launching.unit import command, ports_of, properties
from appliance.researcher.sandbox import SANDBOX, as_lines, temporary_files

PORTS = (20000, 20001, 20002)
OWN = "127.81.2.3"  # an address at which nobody else listens


@pytest.fixture
def settings(tmp_path: Path) -> LauncherSettings:
    return host(tmp_path)


@pytest.fixture
def environment(tmp_path: Path) -> str:
    return str(tmp_path / "store-path")


@pytest.fixture(params=[start_scheduler, start_worker])
def start(request: pytest.FixtureRequest, environment: str) -> Start:
    made: Start = request.param(environment)
    return made


def unit_of(request: Start, settings: LauncherSettings) -> dict[str, str | list[str]]:
    return properties(request, NOBODY, settings, {name: Path("/run/handover", name) for name in SECRETS})


def test_a_fitting_request_is_accepted(start: Start, settings: LauncherSettings) -> None:
    assert check_user(start.user, settings) == NOBODY
    check_start(start, settings)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"user": "no-such-user"}, "'no-such-user' does not exist"),
        ({"user": "root"}, "uid 0"),
        ({"user": "daemon"}, "uid 1 "),
        ({"user": "../nobody"}, "does not exist"),
        ({"user": "\u00e9"}, "does not exist"),
        ({"memory": 5 * 2**30}, "memory = 5368709120 is over the limit"),
        ({"cores": 3}, "cores = 3 is over the limit"),
        ({"threads": 3}, "threads = 3 is over the limit"),
        ({"environment": "/tmp/mine"}, "environment = '/tmp/mine' is not offered"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(
    settings: LauncherSettings, environment: str, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(RefusedError, match=says):
        handle(start_worker(**{"environment": environment, **change}), settings)


@pytest.mark.parametrize(
    "request_", [Stop(user="root", cluster=CLUSTER, worker=""), Status(user="root", cluster=CLUSTER)]
)
def test_nothing_is_stopped_or_told_of_who_is_no_researcher(settings: LauncherSettings, request_: Stop) -> None:
    with pytest.raises(RefusedError, match="uid 0"):
        handle(request_, settings)


def test_a_user_who_is_not_listed_is_refused(tmp_path: Path) -> None:
    settings = host(tmp_path, users=["alice"])
    with pytest.raises(RefusedError, match="no researcher of this facility, or locked"):
        handle(start_worker(str(tmp_path / "store-path")), settings)
    # What runs of theirs can be ended: the gateway does so when their cluster does not answer any more.
    assert check_user("nobody", settings) == NOBODY


def test_a_worker_without_keys_is_refused(start: Start, settings: LauncherSettings) -> None:
    Path(settings.s3_keys, "nobody").unlink()
    with pytest.raises(RefusedError, match="no S3 keys"):
        handle(start, settings)


def test_the_unit_is_the_users_and_limited(start: Start, settings: LauncherSettings, environment: str) -> None:
    lines = list(as_lines(unit_of(start, settings)))
    for item in (
        "User=nobody",
        f"Group={NOBODY.pw_gid}",
        f"Slice=compute-{NOBODY.pw_uid}.slice",
        "MemoryMax=1073741824",
        "CPUQuota=100%",
        "ProtectHome=yes",
        f"LoadCredential=s3:{settings.s3_keys}/nobody",
        "LoadCredential=token:/run/handover/token",
        "Environment=AWS_ENDPOINT_URL=http://127.0.0.1:7481",
        "Environment=APPLIANCE_HOST=store1",
        f"Environment=DASK_GATEWAY_API_TOKEN=/run/credentials/{start.unit}/token",
    ):
        assert item in lines
    run = command(start, settings, PORTS)
    assert run[0] == f"{environment}/bin/python"
    assert run[run.index("--host") + 1] == "10.77.0.21"


def test_all_ports_of_a_unit_are_those_that_it_is_given(start: Start, settings: LauncherSettings) -> None:
    """None is left to the kernel, whose ports no firewall lets in."""
    run = command(start, settings, PORTS)
    options = ("--port", "--worker-port", "--dashboard-address", "--dg-api-address")
    given = [run[run.index(option) + 1].rpartition(":")[2] for option in options if option in run]
    assert given == [str(port) for port in PORTS[: ports_of(start)]]


def test_ports_are_given_out_in_turn_and_those_that_are_taken_passed_over(tmp_path: Path) -> None:
    with socket.create_server((OWN, 0)) as own:
        port = own.getsockname()[1]
        last = tmp_path / "last-port"
        rounds = [take(2, OWN, port - 3, port + 2, last) for _ in range(3)]
    assert [port for given in rounds[:2] for port in given] == [port - 3, port - 2, port - 1, port + 1]
    assert rounds[2] == [port + 2, port - 3]


def test_too_few_free_ports_are_said_with_their_range(tmp_path: Path) -> None:
    with socket.create_server((OWN, 0)) as own:
        port = own.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"fewer than 1 of the ports {port} to {port} are free at {OWN}"):
            take(1, OWN, port, port, tmp_path / "last-port")


def test_a_unit_has_all_of_the_common_sandbox(start: Start, settings: LauncherSettings) -> None:
    wanted = unit_of(start, settings)
    own = {"TemporaryFileSystem": temporary_files(str(2**28))}  # a quarter of its memory
    assert {name: wanted.get(name) for name in SANDBOX} == {**SANDBOX, **own}
    assert unit_of(replace(start, memory=2**33), settings)["TemporaryFileSystem"] == temporary_files(str(2**30))


def test_the_unit_is_named_by_the_request(environment: str) -> None:
    assert start_scheduler(environment).unit == f"dask-nobody-{CLUSTER}-scheduler.service"
    assert start_worker(environment).unit == f"dask-nobody-{CLUSTER}-worker-{WORKER}.service"
    assert Stop(user="nobody", cluster=CLUSTER, worker=WORKER).unit == start_worker(environment).unit
    assert Stop(user="nobody", cluster=CLUSTER, worker="").unit == start_scheduler(environment).unit


def test_no_secret_is_on_a_command_line_or_in_the_environment(start: Start, settings: LauncherSettings) -> None:
    assert "canary" not in json.dumps([unit_of(start, settings), command(start, settings, PORTS)])


def test_the_launcher_needs_the_standard_library_only() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import appliance.launching.launcher;"
        "print(*{name.partition('.')[0] for name in sys.modules} - {*sys.stdlib_module_names, 'appliance', '__main__'})"
    )
    root = Path(appliance.__file__).parents[1]
    run = [sys.executable, "-I", "-S", "-c", program, str(root)]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.split() == []
