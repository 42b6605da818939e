"""The launcher: no researcher gets to it, and who has the gateway's account and key gets no more than it offers."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from intruder import command, run
from machines import HEAD, RACK, STORES, ask, is_active, run_on, until
from made_certificates import authority, key_pem, of_names

from appliance.launching.protocol import REQUEST_BYTES_MAX, Message, StartWorker, Status, Stop, unit_name

STORE = STORES[0]
ADDRESS = RACK.machine(STORE).address
CLUSTER, WORKER, OTHER = (secrets.token_hex(16) for _ in range(3))  # nothing of the other one starts
UNIT = unit_name("alice", CLUSTER, WORKER)
LAUNCHER = "/opt/appliance/services/bin/python -I -m appliance.launching.launcher"
KEY = "/var/lib/dask-gateway/.ssh/id_ed25519"
OPTIONS = "-F none -T -o BatchMode=yes -o IdentitiesOnly=yes -o ExitOnForwardFailure=yes -o ConnectTimeout=10"
SSH = f"ssh {OPTIONS} -o UserKnownHostsFile=/etc/dask-gateway/known_hosts"
# A PEM file may hold other text, here such as a unit's file has.
PLANTED = "\n[Service]\nUser=root\nExecStartPre=/usr/bin/touch /run/test-attack\n"

# One connection for all, as the gateway itself has it; it ends with the unit.
ASK = f"""
ssh = [*{SSH.split()!r}, "-l", "root", "-i", {KEY!r}, "-o", "ControlMaster=auto", "-o", "ControlPath=/tmp/%C"]
ssh += ["-o", "ControlPersist=60", {ADDRESS!r}]
def answer(text):
    return json.loads(subprocess.run(ssh, input=text, capture_output=True, text=True).stdout)
say({{name: answer(piece * times) for name, (piece, times) in json.loads(sys.stdin.read()).items()}})
"""

# What is changed in a sound request to start a worker, and what is said of it.
CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "a name with a slash": ({"user": "../alice"}, "does not exist"),
    "a name with a newline": ({"user": "alice\nFORGED"}, "user = 'alice\\nFORGED'"),
    "a name with a zero": ({"user": "alice\0"}, "user = 'alice\\x00'"),
    "a name with a space": ({"user": "alice "}, "does not exist"),
    "a uid for a name": ({"user": "2001"}, "does not exist"),
    "a pattern for a name": ({"user": "al*"}, "does not exist"),
    "an option for a name": ({"user": "--uid=0"}, "does not exist"),
    "no researcher": ({"user": "nobody"}, "researchers have uids"),
    "a path for a cluster": ({"cluster": "../../../etc/systemd/system/a"}, "cluster = "),
    "a pattern for a cluster": ({"cluster": "*"}, "cluster = '*'"),
    "a unit for a worker": ({"worker": "x.service ssh.service"}, "worker = "),
    "a specifier for a worker": ({"worker": "%h" * 16}, "worker = "),
    "a newline after a worker": ({"worker": "b" * 31 + "\n"}, "worker = "),
    "an option after the scheduler": ({"scheduler_address": "tls://a:1 --preload=os"}, "scheduler_address = "),
    "a variable in the scheduler": ({"scheduler_address": "tls://${HOME}:1"}, "scheduler_address = "),
    "an environment's neighbour": ({"environment": "/opt/appliance/analysis/../services"}, "is not offered"),
    "an environment and a line more": ({"environment": "/nix/store/a\nUser=root"}, "environment = "),
    "memory below nothing": ({"memory": -1}, "memory = -1"),
    "memory without end": ({"memory": "infinity"}, "memory = 'infinity'"),
    "memory beyond numbers": ({"memory": 2**64}, "is over the limit"),
    "half a core": ({"cores": 0.5}, "cores = 0.5"),
    "threads beyond the limit": ({"threads": 10**6}, "threads = 1000000 is over the limit"),
    "a variable": ({"Environment": "LD_PRELOAD=/tmp/a.so"}, "'Environment': there is no such field"),
    "variables": ({"env": {"PYTHONPATH": "/tmp"}}, "'env': there is no such field"),
    "a property": ({"properties": ["User=root"]}, "'properties': there is no such field"),
    "a command": ({"command": ["/bin/sh"]}, "'command': there is no such field"),
    "a certificate that is none": ({"tls_cert": ["-----BEGIN"]}, "tls_cert: give a text"),
    "a certificate with a zero": ({"tls_cert": "a\0b"}, "tls_cert: give a text"),
    "a key that is too long": ({"tls_key": "k" * (2**16 + 1)}, "tls_key: give a text"),
    "another type": ({"type": "Request"}, "type: give one of"),
}
# Texts, how many times each, and what is said.
TEXTS = {
    "nothing": (("", 1), "this is no JSON"),
    "a command for a request": (("/bin/sh -c id\n", 1), "this is no JSON"),
    "a list": (("[]", 1), "this is no JSON object"),
    "two requests": ((json.dumps({"type": "Status", "user": "alice", "cluster": CLUSTER}), 2), "this is no JSON"),
    "a request in a request": (('{"a":', 50_000), "this is no JSON"),
    "more than a request has": ((" ", REQUEST_BYTES_MAX + 1), "the request is longer than"),
    "far more": (("a" * 2**10, 2**16), "the request is longer than"),
}


def answers_to(**texts: tuple[str, int]) -> dict[str, dict[str, Any]]:
    """What the launcher answers to texts, each as often as it says, that the gateway's account sends to it."""
    said = ask(HEAD, command("dask-gateway", ASK, properties={"PrivateTmp": "yes"}), given=json.dumps(texts))
    found: dict[str, dict[str, Any]] = json.loads(said)
    return found


def once(request: Message) -> tuple[str, int]:
    """A request as the text of one."""
    return request.to_json(), 1


def sound() -> StartWorker:
    """A request that is as it should be. Its worker looks for a scheduler for a minute."""
    key = ec.generate_private_key(ec.SECP256R1())
    return StartWorker(
        user="alice",
        cluster=CLUSTER,
        worker=WORKER,
        environment=ask(STORE, "readlink -f /opt/appliance/analysis").strip(),
        memory=2**30,
        cores=1,
        threads=1,
        scheduler_address=f"tls://{ADDRESS}:24999",
        token="canary\nUser=root",
        tls_cert=of_names(["test"], authority("test"), key) + PLANTED,
        tls_key=key_pem(key),
    )


@pytest.fixture(scope="module")
def worker() -> Iterator[StartWorker]:
    """The request of a worker of alice's that runs: the control of all that is refused."""
    request = sound()
    try:
        assert answers_to(it=once(request)) == {"it": {"type": "Started", "unit": UNIT}}
        yield request
    finally:
        ask(STORE, f"systemctl stop {UNIT}", check=False)


@pytest.fixture(scope="module")
def answers(worker: StartWorker) -> dict[str, dict[str, Any]]:
    """What the launcher answers to all that is hostile."""
    good = {**json.loads(worker.to_json()), "cluster": OTHER}
    texts = {name: (json.dumps({**good, **change}), 1) for name, (change, _) in CHANGED.items()}
    return answers_to(**texts, **{name: text for name, (text, _) in TEXTS.items()})


@pytest.mark.parametrize("what", [*CHANGED, *TEXTS])
def test_a_hostile_request_is_refused(answers: dict[str, dict[str, Any]], what: str) -> None:
    says = (CHANGED[what] if what in CHANGED else TEXTS[what])[1]
    assert answers[what]["type"] == "Refused"
    assert says in answers[what]["reason"]


@pytest.mark.usefixtures("answers")
def test_refused_requests_start_nothing_and_forge_no_line_of_the_log() -> None:
    assert ask(STORE, f"journalctl --quiet _PID=1 --grep {OTHER}", check=False) == ""
    assert UNIT in ask(STORE, f"journalctl --quiet -o cat _PID=1 --grep {CLUSTER}")
    logged = ask(STORE, "journalctl --quiet -o cat -t appliance-launcher -n 100").splitlines()
    assert any("FORGED" in line for line in logged)
    assert not any(line.startswith("FORGED") for line in logged)
    assert set(ask(STORE, "ls /run/appliance-launcher").split()) == {"last-port"}


def test_what_stands_in_a_certificate_is_no_part_of_the_unit(worker: StartWorker) -> None:
    assert is_active(STORE, UNIT)
    assert ask(STORE, f"cat /run/credentials/{UNIT}/tls_cert") == worker.tls_cert
    assert ask(STORE, f"systemctl show --value -p User {UNIT}").strip() == "alice"
    assert run_on(STORE, "test -e /run/test-attack").returncode == 1
    assert ask(STORE, f"stat -c %U /proc/$(systemctl show --value -p MainPID {UNIT})").strip() == "alice"


# How the gateway's key is tried for more than the launcher, and what ssh says.
WAYS = {
    "a tunnel to the machine": (f"-W 127.0.0.1:22 root@{ADDRESS}", "forward"),
    "a tunnel back": (f"-N -R 0:127.0.0.1:22 root@{ADDRESS}", "remote port forwarding failed"),
    "a terminal": (f"-tt root@{ADDRESS}", "PTY allocation request failed"),
    "a researcher": (f"alice@{ADDRESS}", "Permission denied"),
    "Ceph": (f"ceph@{ADDRESS}", "Permission denied"),
    "the head itself": (
        "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@127.0.0.1",
        "Permission denied",
    ),
}


def called(words: str) -> subprocess.CompletedProcess[str]:
    """What ssh says to the gateway's account with its key; the launcher gets a sound request."""
    status = Status(user="alice", cluster=OTHER).to_json()
    return run_on(HEAD, f"runuser -u dask-gateway -- {SSH} -i {KEY} {words}", status)


@pytest.mark.parametrize("way", WAYS)
def test_the_gateways_key_opens_nothing_else(way: str) -> None:
    words, says = WAYS[way]
    assert says in called(words).stderr
    assert json.loads(called(f"root@{ADDRESS}").stdout)["type"] == "Running"


@pytest.mark.parametrize("words", ["id", "/bin/sh -i", "scp -f /etc/shadow", "LC_ALL=C id; id", "sftp"])
def test_whatever_is_called_the_launcher_runs(words: str) -> None:
    said = called(f"{'-s' if words == 'sftp' else ''} root@{ADDRESS} '{words}'").stdout
    assert json.loads(said) == {"type": "Running", "units": []}
    assert "uid=0" in ask(STORE, "id"), "who has the operators' key calls what they like"


def test_the_gateways_key_opens_nothing_from_elsewhere() -> None:
    """As whoever has copied it would try."""
    key = ask(HEAD, f"cat {KEY}")
    try:
        ask(STORE, "install -m 400 /dev/stdin /run/test-key", given=key)
        options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i"
        done = run_on(STORE, f"ssh {OPTIONS} {options} /run/test-key root@{ADDRESS} id < /dev/null")
        assert "Permission denied" in done.stderr
        assert json.loads(called(f"root@{ADDRESS}").stdout)["type"] == "Running"
    finally:
        ask(STORE, "rm -f /run/test-key")


def test_a_researcher_gets_nothing_from_the_launcher_on_their_own_machine(worker: StartWorker) -> None:
    """They may run the program and read its settings, which hold no secret; what it does takes root."""
    requests = [
        *[{**json.loads(worker.to_json()), "user": user, "cluster": OTHER} for user in ("alice", "bob")],
        json.loads(Status(user="alice", cluster=CLUSTER).to_json()),
        json.loads(Stop(user="alice", cluster=CLUSTER, worker=WORKER).to_json()),
    ]
    program = f"""
def call(request, *before):
    words = [*before, *{LAUNCHER.split()!r}]
    return subprocess.run(words, input=json.dumps(request), capture_output=True, text=True)
requests = json.loads({json.dumps(requests)!r})
say([[json.loads(call(request).stdout)["type"] for request in requests], call({{}}, "sudo", "-n").stdout,
     attempt(os.listdir, "/run/appliance-launcher")])
"""
    assert run(STORE, "bob", program, slice_="compute.slice") == [["Failed"] * 4, "", "EACCES"]
    assert is_active(STORE, UNIT)
    assert "may run" not in ask(STORE, "sudo -n -l -U bob", check=False)
    status = once(Status(user="alice", cluster=CLUSTER))
    assert answers_to(it=status)["it"]["units"] == [UNIT]
    assert ask(STORE, f"{LAUNCHER}", given=status[0]) == json.dumps({"type": "Running", "units": [UNIT]})
    assert ask(STORE, "ls /run/appliance-launcher").split() == ["last-port"]


def test_a_unit_is_not_stopped_or_told_under_anothers_name(worker: StartWorker) -> None:
    foreign = {name: once(Stop(user="alice", cluster=CLUSTER, worker=name)) for name in ("../ssh", "*", "ssh.service")}
    bobs = {
        "status": once(Status(user="bob", cluster=CLUSTER)),
        "stop": once(Stop(user="bob", cluster=CLUSTER, worker=WORKER)),
    }
    said = answers_to(**foreign, **bobs)
    assert said.pop("status") == {"type": "Running", "units": []}
    assert said.pop("stop")["type"] == "Stopped", "there is none of bob's"
    assert {answer["type"] for answer in said.values()} == {"Refused"}
    assert is_active(STORE, UNIT)
    assert is_active(STORE, "ssh")
    own = answers_to(
        status=once(Status(user="alice", cluster=CLUSTER)),
        stop=once(Stop(user="alice", cluster=CLUSTER, worker=worker.worker)),
    )
    assert own["status"]["units"] == [UNIT]
    assert own["stop"] == {"type": "Stopped", "unit": UNIT}
    until(lambda: not is_active(STORE, UNIT))
