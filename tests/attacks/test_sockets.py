"""What a researcher's processes listen at answers nobody else: kernels, servers, whatever a program opens."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hub_session import HubSession
from intruder import PYTHON, command, run
from machines import FACILITY, MACHINES, RACK, STORES, ask

from appliance.rack.lifecycle import ssh_command

UNIT = "jupyter-alice-singleuser"
RUNTIME = f"/run/{UNIT}"
ENVIRONMENT_PYTHON = "/opt/appliance/analysis/bin/python"
CONNECT = """
def connect(address, port):
    with socket.create_connection((address, port), timeout=30) as own:
        own.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        return own.recv(4).decode(errors="replace")
"""
SERVE = """
import threading
def serve(own):
    while True:
        other, _ = own.accept()
        other.sendall(b"mine")
        other.close()
"""
LISTEN = (
    SERVE
    + """
ports = []
for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::1")):
    own = socket.create_server((address, 0), family=family)
    threading.Thread(target=serve, args=[own], daemon=True).start()
    ports.append(own.getsockname()[1])
say(ports)
sys.stdin.read()
"""
)


AT_PORT = (
    SERVE
    + """
own = socket.create_server(("127.0.0.1", {port}))
threading.Thread(target=serve, args=[own], daemon=True).start()
say([own.getsockname()[1]])
sys.stdin.read()
"""
)


@contextlib.contextmanager
def listening(machine: str, user: str, program: str, interpreter: str = PYTHON) -> Iterator[list[int]]:
    """Run a researcher's program that listens; give what it says, which is its ports."""
    slice_ = "compute.slice" if machine in STORES else "notebooks.slice"
    words = [*ssh_command(RACK, machine), command(user, program, interpreter, slice_)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield json.loads(process.stdout.readline())
        process.communicate()  # its program ends with its input


@dataclass(frozen=True)
class Server:
    """Alice's server with one kernel: the connection file, and the ports that the server and the kernel listen at."""

    connection: str
    port: int
    kernels: tuple[int, ...]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    session = HubSession(FACILITY.front, "alice")
    session.log_in(FACILITY.password("alice"))
    session.stop()
    session.start()
    token = json.loads(session.ask("/hub/api/users/alice/tokens", data=b'{"expires_in": 600}'))["token"]
    asked = urllib.request.Request(  # noqa: S310
        f"{FACILITY.front.of('alice')}/user/alice/api/kernels",
        data=b"{}",
        headers={"Authorization": f"token {token}"},
    )
    with FACILITY.front.opener().open(asked, timeout=60) as answer:
        kernel: dict[str, Any] = json.load(answer)
    # The server answers before the kernel listens.
    connection = f"{RUNTIME}/kernel-{kernel['id']}.json"
    ask("head1", f"until [ -S {connection[:-5]}-ipc-1 ]; do sleep 0.1; done")
    try:
        found = listeners()
        (port,) = [port for port, line in found.items() if "jupyterhub-sing" in line]
        yield Server(connection, port, tuple(set(found) - {port}))
    finally:
        session.stop()


def listeners() -> dict[int, str]:
    """What `ss` says of each TCP socket that listens and belongs to a process of alice's unit, by its port."""
    pids = set(ask("head1", f"cat $(find /sys/fs/cgroup -path '*{UNIT}.service/cgroup.procs')").split())
    lines = ask("head1", "ss -Hltnp").splitlines()
    return {
        int(line.split()[3].rpartition(":")[2]): line for line in lines if any(f"pid={pid}," in line for pid in pids)
    }


def test_cells_and_outputs_go_through_no_port(server: Server) -> None:
    """One port is left to a kernel: there its child processes put what they print, with a secret. It tells nothing."""
    info = json.loads(ask("head1", f"cat {server.connection}"))
    assert info["transport"] == "ipc"
    assert info["ip"].startswith(f"{RUNTIME}/kernel-")
    assert len(server.kernels) <= 1
    assert all(line.split()[3].startswith("127.0.0.1:") for line in listeners().values())
    for port in server.kernels:
        program = f"say(attempt(lambda: socket.create_connection(('127.0.0.1', {port}), timeout=30).close()))"
        assert run("head1", "bob", program) == "ECONNREFUSED"
        assert run("head1", "alice", program) == "done"


def test_kernels_sockets_are_in_a_directory_that_nobody_else_enters(server: Server) -> None:
    socket_ = f"{server.connection[:-5]}-ipc-1"
    program = f"""
def connect(path):
    with socket.socket(socket.AF_UNIX) as own:
        own.connect(path)
say([bool(attempt(os.listdir, {RUNTIME!r})), attempt(connect, {socket_!r}),
     attempt(lambda: open({server.connection!r}).read()[:1])])
"""
    owner, mode = ask("head1", f"stat -c '%U %a' {RUNTIME}").split()
    assert (owner, mode[-3:]) == ("alice", "700")
    assert run("head1", "bob", program)[1:] == ["EACCES", "EACCES"]
    assert run("head1", "bob", f"say(attempt(os.listdir, {RUNTIME!r}))") == "EACCES"
    assert run("head1", "alice", program) == [True, "done", "{"]


def test_a_kernel_runs_its_owners_cells(server: Server) -> None:
    program = f"""
from jupyter_client import BlockingKernelClient
client = BlockingKernelClient(connection_file={server.connection!r})
client.load_connection_file()
client.start_channels()
client.wait_for_ready(timeout=60)
found = []
client.execute_interactive("print(6 * 7)", timeout=60, output_hook=lambda said: found.append(said["content"]))
client.stop_channels()
say("".join(content.get("text", "") for content in found).strip())
"""
    assert run("head1", "alice", program, ENVIRONMENT_PYTHON) == "42"
    with pytest.raises(AssertionError, match="PermissionError"):
        run("head1", "bob", program, ENVIRONMENT_PYTHON)


def test_a_server_answers_its_owner_and_the_hub_alone(server: Server) -> None:
    program = f"{CONNECT}\nsay(attempt(connect, '127.0.0.1', {server.port}))"
    assert run("head1", "bob", program) == "ECONNREFUSED"
    assert run("head1", "alice", program) == "HTTP"
    assert run("head1", "root", program) == "HTTP"


def test_a_server_that_ended_leaves_its_port_to_nobody(server: Server) -> None:
    """The hub sends its owner's browser there until it notices."""
    ask("head1", f"systemctl kill --signal=KILL {UNIT}; until ! systemctl is-active -q {UNIT}; do sleep 0.1; done")
    program = f"{CONNECT}\nsay(attempt(connect, '127.0.0.1', {server.port}))"
    for user, answer in (("bob", "ECONNREFUSED"), ("alice", "mine")):
        with listening("head1", user, AT_PORT.format(port=server.port)) as ports:
            assert ports == [server.port]
            assert run("head1", "root", program) == answer


@pytest.mark.parametrize("way", ["127.0.0.1", "::1", "own address"])
@pytest.mark.parametrize("machine", MACHINES)
def test_whatever_a_researchers_process_listens_at_answers_nobody_else(machine: str, way: str) -> None:
    """As a debugger, a cluster in a notebook, or a web server does. On a storage host it is a worker's."""
    address = RACK.machine(machine).address if way == "own address" else way
    with listening(machine, "alice", LISTEN) as ports:
        program = f"{CONNECT}\nsay(attempt(connect, {address!r}, {ports[':' in address]}))"
        assert run(machine, "bob", program) == "ECONNREFUSED"
        assert run(machine, "alice", program) == "mine"
        assert run(machine, "root", program) == "mine"


def test_a_debuggers_listener_answers_its_owner_alone() -> None:
    """debugpy asks for no password, and runs what it is told."""
    program = "import debugpy\nsay([debugpy.listen(('127.0.0.1', 0))[1]])\nsys.stdin.read()\n"
    with listening("head1", "alice", program, ENVIRONMENT_PYTHON) as (port,):
        program = f"""
def connect():
    with socket.create_connection(("127.0.0.1", {port}), timeout=30) as own:
        return own.recv(14).decode()
say(attempt(connect))
"""
        assert run("head1", "bob", program) == "ECONNREFUSED"
        assert run("head1", "alice", program) == "Content-Length"


@pytest.mark.parametrize("how", ["restart appliance-listeners", "daemon-reexec"])
def test_the_rules_outlive(how: str) -> None:
    ask("head1", f"systemctl {shlex.quote(how.split()[0])} {' '.join(how.split()[1:])}")
    rules = ask("head1", "nft list table inet appliance_listeners")
    for user in ("alice", "bob"):
        uid = int(ask("head1", f"id -u {user}"))
        assert f"{uid} . {uid:#010x}" in rules
    assert ask("head1", "systemctl is-enabled appliance-listeners.service").strip() == "enabled"
