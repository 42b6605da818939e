"""What the launcher refuses, and what it puts together. It starts units on the rack (tests/rack/test_compute.py)."""

from __future__ import annotations

import json
import pwd
from pathlib import Path
from typing import Any

import pytest

from appliance.compute import launcher
from appliance.compute.launcher import RefusedError, check_start, check_user, command, handle, properties
from appliance.compute.units import unit_name, unit_pattern

CLUSTER, WORKER = "c" * 32, "a" * 32
NOBODY = pwd.getpwnam("nobody")  # a user that every Debian machine has; here it plays a researcher


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "s3").mkdir()
    (tmp_path / "s3" / "nobody").write_text("[default]\n")
    (tmp_path / "store-path").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "store-path")
    return {
        "host": "store1",
        "address": "10.77.0.21",
        "slice": "compute.slice",
        "environments": [str(tmp_path / "link")],
        "users": ["nobody", "root", "daemon"],
        "uid_min": NOBODY.pw_uid,
        "uid_max": NOBODY.pw_uid,
        "credentials": str(tmp_path / "s3"),
        "limits": {"memory": 4 * 2**30, "cores": 2, "threads": 2},
        "environment": {"AWS_ENDPOINT_URL": "http://127.0.0.1:7481"},
        "api_url": "http://head1:8003/services/dask-gateway/api",
    }


@pytest.fixture
def request_(tmp_path: Path) -> dict[str, Any]:
    return {
        "verb": "start",
        "user": "nobody",
        "cluster": CLUSTER,
        "role": "worker",
        "worker": WORKER,
        "unit": unit_name("nobody", CLUSTER, "worker", WORKER),
        "memory": 2**30,
        "cores": 1,
        "threads": 1,
        "environment": str(tmp_path / "store-path"),
        "scheduler_address": "tls://10.77.0.22:41234",
        "token": "canary-token",
        "tls_cert": "canary-cert",
        "tls_key": "canary-key",
    }


def test_a_fitting_request_is_accepted(request_: dict[str, Any], config: dict[str, Any]) -> None:
    check_user(request_["user"], config)
    check_start(request_, config)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"user": "no-such-user"}, "does not exist"),
        ({"user": "root"}, "uid 0"),
        ({"user": "daemon"}, "uid 1"),
        ({"user": "../nobody"}, "no user name"),
        ({"user": ""}, "missing"),
        ({"unit": unit_name("alice", CLUSTER, "worker", WORKER)}, "no scheduler or worker of 'nobody'"),
        ({"unit": "ceph-osd@1.service"}, "no scheduler or worker of 'nobody'"),
        ({"unit": unit_name("nobody", "d" * 32, "worker", WORKER)}, "not the one of this request"),
        ({"cluster": "x; reboot"}, "cluster = 'x; reboot' is no name"),
        ({"worker": "../../etc"}, "worker = '../../etc' is no name"),
        ({"role": "shell"}, "role = 'shell'"),
        ({"memory": 5 * 2**30}, "memory = 5368709120 is over the limit"),
        ({"cores": 3}, "cores = 3 is over the limit"),
        ({"cores": True}, "cores = True"),
        ({"threads": 0}, "threads = 0"),
        ({"environment": "/tmp/mine"}, "environment = '/tmp/mine' is not offered"),
        ({"scheduler_address": "--preload=evil"}, "scheduler_address = '--preload=evil'"),
        ({"token": None}, "token is missing"),
        ({"verb": "exec"}, "units = None is not a list"),
        ({"verb": "stop", "units": ["sshd.service"]}, "no scheduler or worker"),
        ({"verb": "stop", "units": [unit_name("alice", CLUSTER, "scheduler")]}, "no scheduler or worker"),
        ({"verb": "reboot", "units": []}, "none of start, stop, status"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(
    request_: dict[str, Any], config: dict[str, Any], change: dict[str, Any], says: str
) -> None:
    with pytest.raises(RefusedError, match=says.replace("(", r"\(")):
        handle({**request_, **change}, config)


def test_a_user_who_is_not_listed_is_refused(request_: dict[str, Any], config: dict[str, Any]) -> None:
    config["users"] = ["alice"]
    with pytest.raises(RefusedError, match="no researcher of this facility"):
        handle(request_, config)


def test_a_worker_without_keys_is_refused(request_: dict[str, Any], config: dict[str, Any]) -> None:
    Path(config["credentials"], "nobody").unlink()
    with pytest.raises(RefusedError, match="no S3 keys"):
        handle(request_, config)


def test_names_of_users_that_begin_alike_are_kept_apart() -> None:
    unit = unit_name("a-b", CLUSTER, "scheduler")
    assert unit_pattern("a-b").fullmatch(unit)
    assert not unit_pattern("a").fullmatch(unit)
    assert not unit_pattern("a.b").fullmatch(unit)


@pytest.mark.parametrize("role", ["worker", "scheduler"])
def test_the_unit_is_the_users_and_limited(request_: dict[str, Any], config: dict[str, Any], role: str) -> None:
    request_ |= {"role": role, "heartbeat_period": 15, "adaptive_period": 3.0, "idle_timeout": 0.0}
    wanted = properties(request_, NOBODY, config)
    for item in (
        "User=nobody",
        "Slice=compute.slice",
        "MemoryMax=1073741824",
        "CPUQuota=100%",
        "ProtectHome=yes",
        f"LoadCredential=s3:{config['credentials']}/nobody",
        "Environment=AWS_ENDPOINT_URL=http://127.0.0.1:7481",
        "Environment=APPLIANCE_HOST=store1",
    ):
        assert item in wanted
    run = command(request_, config)
    assert run[0] == f"{request_['environment']}/bin/python"
    assert run[run.index("--host") + 1] == "10.77.0.21"


def test_no_secret_is_on_a_command_line_or_in_the_environment(request_: dict[str, Any], config: dict[str, Any]) -> None:
    for role in ("worker", "scheduler"):
        request_ |= {"role": role, "heartbeat_period": 15, "adaptive_period": 3.0, "idle_timeout": 0.0}
        shown = json.dumps([properties(request_, NOBODY, config), command(request_, config)])
        assert "canary" not in shown
        assert "canary" not in launcher._described(request_)
