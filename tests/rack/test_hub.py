"""JupyterHub on a converged rack: what a researcher's server is, what it cannot do, and what it survives."""

from __future__ import annotations

import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_session import HubSession
from machines import until
from sandbox import lacking

from appliance.demo.facility import Facility, FacilityError

UNIT = "jupyter-bob-singleuser.service"


@pytest.fixture(scope="module")
def bob(facility: Facility) -> Iterator[HubSession]:
    session = HubSession(facility.front, "bob")
    session.log_in(facility.password("bob"))
    yield session
    session.stop()


@pytest.fixture
def server(bob: HubSession) -> HubSession:
    """Bob with a server that runs."""
    if not bob.server():
        bob.start()
    return bob


def on_head(facility: Facility, script: str) -> str:
    return facility.run("head1", "/bin/bash", "-euc", script).decode()


def show(facility: Facility, unit: str, *names: str) -> dict[str, str]:
    said = on_head(facility, f"systemctl show {unit} {' '.join(f'--property={name}' for name in names)}")
    return dict(line.split("=", 1) for line in said.splitlines())


def answers(session: HubSession, path: str) -> bool:
    """Whether a path is answered; without its proxy nothing is, and without the hub not that."""
    try:
        return bool(session.ask(path))
    except OSError:
        return False


def in_server(facility: Facility, script: str) -> str:
    """Run a script as bob, in the namespaces of bob's server."""
    inside = f"nsenter --target $(systemctl show --value --property=MainPID {UNIT}) --mount"
    return on_head(facility, f"{inside} setpriv --reuid=bob --regid=bob --init-groups /bin/bash -euc {script!r}")


@pytest.mark.usefixtures("server")
def test_the_unit_is_the_researchers_with_hard_limits(facility: Facility) -> None:
    found = show(facility, UNIT, "User", "Slice", "MemoryMax", "CPUQuotaPerSecUSec", "TasksMax")
    assert found["User"] in ("bob", on_head(facility, "id -u bob").strip())
    assert found["Slice"] == f"notebooks-{on_head(facility, 'id -u bob').strip()}.slice"
    assert 2**28 <= int(found["MemoryMax"]) < 2**40
    assert found["CPUQuotaPerSecUSec"] != "infinity"
    assert found["TasksMax"] != "infinity"
    processes = on_head(facility, f"ps -o user= -p $(systemctl show --value --property=MainPID {UNIT})")
    assert processes.split() == ["bob"]


@pytest.mark.usefixtures("server")
def test_the_unit_has_all_of_the_common_sandbox(facility: Facility) -> None:
    assert lacking(facility, "head1", UNIT) == []


@pytest.mark.usefixtures("server")
def test_the_server_runs_from_the_facilitys_environment(facility: Facility) -> None:
    environment = on_head(facility, "readlink /opt/appliance/analysis").strip()
    assert environment.startswith("/nix/store/")
    command = on_head(facility, f"tr '\\0' ' ' < /proc/$(systemctl show --value --property=MainPID {UNIT})/cmdline")
    assert command.startswith(f"{environment}/bin/")


@pytest.mark.usefixtures("server")
def test_a_server_reads_its_own_keys_and_nobody_elses(facility: Facility) -> None:
    keys = in_server(facility, "cat /run/credentials/jupyter-bob-singleuser.service/s3")
    assert "aws_access_key_id" in keys
    for path in ("/etc/appliance/s3/bob", "/etc/appliance/s3/alice", "/etc/jupyterhub/credentials/proxy-token"):
        with pytest.raises(FacilityError, match=r"Permission denied|No such file"):
            in_server(facility, f"cat {path}")


@pytest.mark.usefixtures("server")
def test_a_server_sees_one_home_and_cannot_write_the_system(facility: Facility) -> None:
    assert in_server(facility, "ls /home").split() == ["bob"]
    for path in ("/usr/x", "/etc/x", "/nix/store/x", "/var/lib/x", "/opt/appliance/x"):
        with pytest.raises(FacilityError, match=r"Read-only file system|Permission denied"):
            in_server(facility, f"touch {path}")
    assert in_server(facility, "touch ~bob/mine /tmp/mine && rm ~bob/mine && echo written").strip() == "written"
    # The file in the server's /tmp is in nobody else's.
    assert "mine" not in on_head(facility, "ls /tmp").split()


@pytest.mark.usefixtures("server")
def test_no_secret_is_in_a_unit_a_command_line_or_a_log(facility: Facility) -> None:
    secrets = on_head(facility, "cat /etc/jupyterhub/credentials/*; grep -h secret /etc/appliance/s3/bob").split()
    secrets = [word for word in secrets if len(word) >= 16]
    assert len(secrets) >= 4
    seen = on_head(
        facility,
        "systemctl show jupyterhub jupyterhub-proxy " + UNIT + "; journalctl --no-pager --quiet --boot; "
        "cat /etc/jupyterhub/*.* /etc/systemd/system/jupyterhub*; ps -eww -o args; "
        f"tr '\\0' '\\n' < /proc/$(systemctl show --value --property=MainPID {UNIT})/environ",
    )
    assert not [word[:4] for word in secrets if word in seen]


def test_the_hubs_state_and_secrets_are_roots_alone(facility: Facility) -> None:
    modes = on_head(facility, "stat -c '%U %a' /var/lib/jupyterhub /etc/jupyterhub/credentials")
    assert set(modes.splitlines()) == {"root 700"}
    files = on_head(facility, "stat -c '%U %a' /etc/jupyterhub/credentials/*")
    assert set(files.splitlines()) == {"root 400"}


def test_a_server_outlives_the_hub_and_the_proxy(facility: Facility, server: HubSession) -> None:
    before = show(facility, UNIT, "MainPID")
    on_head(facility, "systemctl restart jupyterhub-proxy jupyterhub")
    until(lambda: answers(server, "/user/bob/lab"))
    assert show(facility, UNIT, "MainPID") == before
    assert server.server()["ready"] is True


def test_a_server_that_ended_by_a_fault_starts_again_at_once(facility: Facility, server: HubSession) -> None:
    for _ in range(3):
        on_head(
            facility, f"systemctl kill --signal=KILL {UNIT}; until systemctl is-failed -q {UNIT}; do sleep 0.1; done"
        )
        server.stop()
        server.start()
        assert server.server()["ready"] is True


def test_a_full_home_keeps_nobody_out(facility: Facility, bob: HubSession) -> None:
    bob.stop()
    on_head(facility, "mount -t tmpfs -o size=64k,mode=0700,uid=$(id -u bob),gid=$(id -g bob) full /home/bob")
    try:
        on_head(
            facility, "cat /dev/zero > /home/bob/fills-it || true; test $(df --output=avail /home/bob | tail -1) = 0"
        )
        bob.start()
        assert bob.server()["ready"] is True
    finally:
        bob.stop()
        on_head(facility, "umount /home/bob")


def test_missing_keys_are_said_and_not_guessed(facility: Facility, bob: HubSession) -> None:
    bob.stop()
    on_head(facility, "mv /etc/appliance/s3/bob /etc/appliance/s3/.bob")
    try:
        with pytest.raises((RuntimeError, urllib.error.HTTPError)) as caught:
            bob.start()
        said = str(caught.value)
        if isinstance(caught.value, urllib.error.HTTPError):
            said += caught.value.read().decode()
        assert "the S3 keys of bob is missing on this machine" in said
    finally:
        on_head(facility, "mv /etc/appliance/s3/.bob /etc/appliance/s3/bob")
    bob.start()


def test_a_wrong_password_is_refused(facility: Facility) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        HubSession(facility.front, "bob").log_in("wrong")
    assert caught.value.code == 403


@pytest.mark.usefixtures("server")
def test_the_example_is_in_the_home_and_is_the_projects(facility: Facility) -> None:
    import appliance.demo

    name = "sea-surface-temperature.ipynb"
    assert in_server(facility, f"stat -c %U ~bob/examples/{name}").strip() == "bob"
    ours = (Path(appliance.demo.__file__).parent / "examples" / name).read_text(encoding="utf-8")
    environment = on_head(facility, "readlink /opt/appliance/analysis").strip()
    theirs = on_head(facility, f"cat {environment}/lib/python3*/site-packages/appliance/demo/examples/{name}")
    assert theirs == ours
