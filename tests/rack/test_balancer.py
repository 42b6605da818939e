"""The balancer on the converged rack: what it adds to answers, and what it may do on its machine."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest
from machines import FACILITY, MACHINES, STORES, ask

CAP_NET_BIND_SERVICE = 10  # the most that it may have: where the facility's ports are closed to others, it binds them

# Clients of the environment that researchers have, through the balancer and straight at the gateway.
CLIENTS = f"""
import asyncio, json, os
import botocore.session
from botocore.config import Config

def client(url):
    config = Config(s3={{"addressing_style": "path"}})
    return botocore.session.get_session().create_client("s3", endpoint_url=url, region_name="us-east-1", config=config)

through = client({FACILITY.facts["s3_endpoint_url"]!r})
straight = client("http://127.0.0.1:{FACILITY.facts["ceph_rgw_port"]}")
"""


def s3(code: str) -> object:
    """What a few lines print as JSON, run with alice's keys on a machine that has a gateway."""
    environment = (
        "AWS_SHARED_CREDENTIALS_FILE=/etc/appliance/s3/alice "
        f"AWS_ENDPOINT_URL={FACILITY.facts['s3_endpoint_url']} /opt/appliance/analysis/bin/python -"
    )
    return json.loads(ask(STORES[0], environment, given=CLIENTS + code))


@pytest.fixture
def key() -> Iterator[str]:
    name = f"balancer-test/{uuid.uuid4()}"
    yield name
    s3(f"""
for key in ({name!r}, {name!r} + "-copy"):
    through.delete_object(Bucket="alice", Key=key)
print("null")
""")


def test_objects_have_the_metadata_that_their_owner_gave_and_no_other(key: str) -> None:
    told = s3(f"""
told = []
for number, given in enumerate(({{}}, {{"colour": "red", "under_score": "yes"}})):
    through.put_object(Bucket="alice", Key={key!r}, Body=b"abc", Metadata=given)
    # As a copying tool does it: what it was told is what it writes.
    read = through.get_object(Bucket="alice", Key={key!r})["Metadata"]
    through.put_object(Bucket="alice", Key={key!r} + "-copy", Body=b"abc", Metadata=read)
    told.append([
        one.head_object(Bucket="alice", Key=name)["Metadata"]
        for one in (through, straight) for name in ({key!r}, {key!r} + "-copy")
    ])
print(json.dumps(told))
""")
    assert told == [[{}] * 4, [{"colour": "red", "under_score": "yes"}] * 4]


def test_the_reader_is_told_who_served(key: str) -> None:
    """Its requests are signed with the header that asks for it, so that a gateway refused it if it were changed."""
    told = s3(f"""
from appliance.compute.reading import objects
access = objects.own_access()
asyncio.run(objects.write("alice", {key!r}, b"abc", access, 1 << 20))
got = asyncio.run(objects.read("alice", {key!r}, access))
headers = through.get_object(Bucket="alice", Key={key!r})["ResponseMetadata"]["HTTPHeaders"]
print(json.dumps([got.data.decode(), got.served_by, headers["x-appliance-served-by"]]))
""")
    assert told == ["abc", STORES[0], STORES[0]]


@pytest.mark.parametrize("machine", MACHINES)
def test_no_part_of_the_balancer_is_roots_or_could_become_it(machine: str) -> None:
    ask(machine, "systemctl is-active haproxy.service")
    # Not the hub's front, which is haproxy too.
    main = "$(systemctl show --value --property=MainPID haproxy)"
    pids = ask(machine, f"echo {main}; ps -o pid= --ppid {main}").split()
    assert len(pids) >= 2  # the one that systemd watches, and the one that works
    states = [ask(machine, f"cat /proc/{pid}/status") for pid in pids]
    user = ask(machine, "id --user haproxy").strip()
    assert user != "0"
    for state in states:
        fields = dict(line.split(":\t", 1) for line in state.splitlines() if ":\t" in line)
        assert set(fields["Uid"].split()) == {user}
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(fields[name], 16) in (0, 1 << CAP_NET_BIND_SERVICE), name
        assert fields["NoNewPrivs"] == "1"


@pytest.mark.parametrize("machine", MACHINES)
def test_the_balancer_sees_its_configuration_and_nothing_else_of_the_machine(machine: str) -> None:
    root = f"/proc/{ask(machine, 'systemctl show --property MainPID --value haproxy.service').strip()}/root"

    def listed(folder: str, of: str = root) -> set[str]:
        return set(ask(machine, f"ls -A {of}/{folder} 2>/dev/null; true").split())

    assert "haproxy.cfg" in listed("etc/haproxy")
    known = {"haproxy", "hosts", "ld.so.cache", "nsswitch.conf", "resolv.conf", "ssl"}
    assert listed("etc") <= known
    for folder, something in {"opt": "appliance", "var/lib": "dpkg", "etc": "shadow", "run": "dbus"}.items():
        assert something in listed(folder, of="")
        assert something not in listed(folder)
    assert {folder: listed(folder) for folder in ("home", "nix", "opt", "root", "srv", "var/lib")} == {
        folder: set() for folder in ("home", "nix", "opt", "root", "srv", "var/lib")
    }


@pytest.mark.parametrize("machine", MACHINES)
def test_the_balancers_exposure_is_low(machine: str) -> None:
    """`--threshold` is ten times the number that systemd shows (10 is a service without any limit)."""
    ask(machine, "systemd-analyze security --no-pager --threshold=20 haproxy.service")


def test_a_configuration_that_is_wrong_is_refused_and_the_old_one_serves_on() -> None:
    store, config = STORES[0], "/etc/haproxy/haproxy.cfg"
    before = ask(store, "pidof haproxy")
    ask(store, f"cp --preserve {config} /root/haproxy.cfg.test && echo 'frontend' >> {config}")
    try:
        assert ask(store, "systemctl reload haproxy.service 2>/dev/null && echo reloaded", check=False) == ""
    finally:
        ask(store, f"mv /root/haproxy.cfg.test {config}")
    assert ask(store, "pidof haproxy") == before
    ask(store, "systemctl reload haproxy.service")
    assert ask(store, "systemctl is-active haproxy.service") == "active\n"
