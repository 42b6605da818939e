"""Files of others, of the operators and of the facility: a researcher's process neither reads nor changes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hub_session import HubSession
from intruder import run
from kernel import Kernel
from machines import FACILITY, HEAD, STORES, ask

from appliance.researcher.sandbox import SANDBOX, TEMPORARY

STORE = STORES[0]
PLACES = (HEAD, STORE)
REFUSED = {"EACCES", "ENOENT", "EPERM", "EROFS", "EXDEV"}
UNIT = "jupyter-bob-singleuser"
VARIABLES = f"/run/{UNIT}/{UNIT}.env"

# What is kept, by what it is. Each is there, and root reads it.
KEPT_EVERYWHERE = {
    "passwords": "/etc/*shadow",
    "S3 keys": "/etc/appliance/s3/*",
    "credentials of units": "/run/credentials/*.service/*",
    "another's home": "/home/bob",
    "files in another's home": "/home/bob/.bashrc",
    "the machine's keys": "/etc/ssh/ssh_host_*_key",
    "root's home": "/root/.ssh/authorized_keys",
    "the journal": "/var/log/journal/*/system.journal",
}
KEPT = {
    HEAD: {
        **KEPT_EVERYWHERE,
        "another's server": f"/run/{UNIT}/*.*",
        "another's journal": "/var/log/journal/*/user-2002.journal",
        "the front's key": "/etc/appliance/tls/*.key",
        "the hub's secrets": "/etc/jupyterhub/credentials/*",
        "the hub's database and tokens": "/var/lib/jupyterhub/*",
        "the gateway's key": "/var/lib/dask-gateway/.ssh/id_*",
        "the gateway's database": "/var/lib/dask-gateway/*",
    },
    STORE: {
        **KEPT_EVERYWHERE,
        "the placement service's S3 keys": "/etc/appliance/placement.s3",
        "Ceph's keys": "/etc/ceph/*.keyring",
        "keys of Ceph's daemons": "/var/lib/ceph/*/*/keyring",
        "the key that makes OSDs": "/var/lib/ceph/bootstrap-osd/*.keyring",
        "the monitor's store": "/var/lib/ceph/mon/*/store.db/*",
        "an OSD's disk": "/var/lib/ceph/osd/*/block",
        "Ceph's logs": "/var/log/ceph",
        "sockets of Ceph's daemons": "/run/ceph",
    },
}
OWN = ("another's home", "files in another's home", "another's server", "another's journal")
LOOK = """
import glob
def look(path):
    if os.path.isdir(path):
        return len(os.listdir(path))
    with open(path, "rb") as file:
        return len(file.read(64))
def found(where):
    return glob.glob(where) if isinstance(where, str) else where
say({what: {path: attempt(look, path) for path in found(where)} for what, where in json.loads(ASKED).items()})
"""
Looks = dict[str, dict[str, Any]]

# Opened for writing, and not written.
FILES = {
    HEAD: [
        *["/etc/jupyterhub/jupyterhub_config.py", "/etc/jupyterhub/notebook/jupyter_config.json"],
        *["/etc/dask-gateway/settings.json", "/etc/appliance/https-front/haproxy.cfg", "/home/bob/.bashrc"],
        *["/var/lib/jupyterhub/jupyterhub.sqlite", "/opt/appliance/analysis/bin/jupyterhub-singleuser"],
    ],
    STORE: ["/etc/appliance/launcher.json", "/etc/ceph/ceph.conf", "/etc/haproxy/haproxy.cfg"],
}
FILES_OF_ALL = [
    *["/etc/passwd", "/etc/shadow", "/etc/hosts", "/etc/ld.so.cache", "/etc/ssh/sshd_config"],
    *["/etc/appliance/firewall.nft", "/etc/appliance/listeners.nft", "/etc/dbus-1/system.d/appliance.conf"],
    *["/etc/systemd/system/appliance-listeners.service", "/root/.ssh/authorized_keys"],
    *["/proc/1/oom_score_adj", "/proc/sys/net/ipv4/ip_unprivileged_port_start"],
]
# A directory is made there and removed.
FOLDERS = [
    *["/", "/etc", "/etc/appliance", "/etc/systemd/system", "/usr/bin", "/usr/local/bin", "/opt/appliance"],
    *["/opt/appliance/analysis/bin", "/nix/store", "/nix/var/nix/gcroots", "/var/lib", "/var/lib/systemd/linger"],
    *["/root", "/home", "/home/bob", "/run", "/run/systemd/system", "/run/credentials", "/sys/fs/cgroup"],
]
CHANGE = """
def opens(path):
    os.close(os.open(path, os.O_WRONLY))
def makes(folder):
    # In the older kind of cgroups, the first directory is no cgroup.
    inner = "/sys/fs/cgroup/systemd"
    name = os.path.join(inner if folder == "/sys/fs/cgroup" and os.path.exists(inner) else folder, "test-attack")
    os.mkdir(name)
    os.rmdir(name)
files, folders = json.loads(ASKED)
say({path: attempt(opens, path) for path in files} | {path: attempt(makes, path) for path in folders})
"""

# Everything that the kernel would let the process write to, sockets to which it can connect among it.
SWEEP = r"""
where = r"find / /proc/sys \( -path /proc -o -path /nix/store \) -prune -o ! -type l -writable -printf '%y %p\n'"
done = subprocess.run(where, shell=True, capture_output=True, text=True)
say(done.stdout.splitlines())
"""
DEVICES = {f"/dev/{name}" for name in ("full", "null", "pts/ptmx", "random", "tty", "urandom", "zero")}
OWN_PLACES = {*DEVICES, *TEMPORARY, "/dev/mqueue"}
# Each asks who connects, and does nothing for a researcher.
SOCKETS = {
    "/run/dbus/system_bus_socket",
    *(f"/run/systemd/journal/{name}" for name in ("dev-log", "socket", "stdout")),
    *(f"/run/systemd/io.systemd.{name}" for name in ("Credentials", "Hostname", "ManagedOOM")),
    *("/run/systemd/notify", "/run/systemd/netif/io.systemd.Network", "/run/systemd/userdb/io.systemd.DynamicUser"),
    "/run/uuidd/request",
}


def asked(program: str, value: object) -> str:
    """The program with what it is asked for."""
    return program.replace("ASKED", repr(json.dumps(value)))


def unit(machine: str) -> dict[str, Any]:
    """How a notebook of alice's runs on the head, and how a worker of hers runs on a storage machine."""
    if machine == HEAD:
        return {"properties": {**SANDBOX, "ProtectHome": "tmpfs", "BindPaths": "/home/alice"}}
    return {"slice_": "compute.slice", "properties": {**SANDBOX, "ProtectHome": "yes"}}


@pytest.fixture(scope="module")
def server() -> Iterator[Kernel]:
    """Bob's server with a kernel."""
    with Kernel("bob") as kernel:
        yield kernel


@pytest.fixture(scope="module")
def looks(server: Kernel) -> dict[str, dict[str, Looks]]:
    """What each gets who looks at what is kept, by machine and user. No home is hidden, so that its mode counts."""
    del server
    found: dict[str, dict[str, Looks]] = {}
    for machine, kept in KEPT.items():
        roots: Looks = run(machine, "root", asked(LOOK, kept))
        paths = {what: list(seen) for what, seen in roots.items()}
        others = {user: run(machine, user, asked(LOOK, paths)) for user in ("alice", "bob")}
        found[machine] = {"root": roots, **others}
    return found


@pytest.mark.parametrize(("machine", "what"), [(machine, what) for machine, kept in KEPT.items() for what in kept])
def test_what_is_kept_is_read_by_nobody_else(looks: dict[str, dict[str, Looks]], machine: str, what: str) -> None:
    assert looks[machine]["root"][what], f"there is no {KEPT[machine][what]}"
    assert set(looks[machine]["alice"][what].values()) <= REFUSED
    allowed = [looks[machine]["root"][what], *([looks[machine]["bob"][what]] if what in OWN else [])]
    assert [said for seen in allowed for said in seen.values() if said in REFUSED] == []


@pytest.mark.parametrize("machine", PLACES)
def test_nothing_of_the_machine_is_changed(machine: str) -> None:
    program = asked(CHANGE, [[*FILES_OF_ALL, *FILES[machine]], FOLDERS])
    said = run(machine, "alice", program, **unit(machine))
    assert {path: answer for path, answer in said.items() if answer not in REFUSED} == {}
    assert {path: answer for path, answer in run(machine, "root", program).items() if answer != "done"} == {}
    own = asked(CHANGE, [["/dev/null"], [*TEMPORARY, *(["/home/alice"] if machine == HEAD else [])]])
    assert set(run(machine, "alice", own, **unit(machine)).values()) == {"done"}


@pytest.mark.parametrize("machine", PLACES)
def test_no_place_is_written_that_others_see(machine: str) -> None:
    """Not by name, as above, but all that there are. Whose message queues are seen is asked in test_memory.py."""
    found = {line[2:] for line in run(machine, "alice", SWEEP, **unit(machine)) if line[0] != "s"}
    assert {path for path in found - OWN_PLACES if not path.startswith("/home/alice")} == set()
    assert "d /run/lock" in run(machine, "alice", SWEEP, properties={})


@pytest.mark.parametrize("machine", PLACES)
def test_no_service_answers_by_a_socket_that_is_not_known(machine: str) -> None:
    found = {line[2:] for line in run(machine, "alice", SWEEP, **unit(machine)) if line[0] == "s"}
    assert found - SOCKETS == set()
    assert "/run/dbus/system_bus_socket" in found


@pytest.mark.parametrize("machine", PLACES)
def test_no_device_is_seen_and_none_is_made(machine: str) -> None:
    program = """
import stat
seen = [os.path.join(folder, name) for folder, _, names in os.walk("/dev") for name in names]
kinds = {path: os.lstat(path).st_mode for path in seen if not path.startswith("/dev/pts/")}
def make():
    os.mknod("/dev/shm/test-attack", stat.S_IFBLK | 0o600, os.makedev(7, 0))
    os.unlink("/dev/shm/test-attack")
say([[path for path, mode in kinds.items() if stat.S_ISBLK(mode)],
     [path for path, mode in kinds.items() if stat.S_ISCHR(mode)], attempt(make)])
"""
    blocks, characters, made = run(machine, "alice", program, **unit(machine))
    assert (blocks, made) == ([], "EPERM")
    assert set(characters) <= DEVICES
    blocks, characters, made = run(machine, "root", program)
    assert made == "done"
    assert (blocks != []) == (machine == STORE)


@pytest.mark.parametrize("machine", PLACES)
def test_a_set_uid_program_gives_no_rights_and_none_is_made(machine: str) -> None:
    planted = "/var/lib/test-attack"
    program = f"""
said = [subprocess.run([{planted!r}, "-u"], capture_output=True, text=True).stdout.strip()]
open("/dev/shm/test-attack", "w").close()
for mode in (0o4755, 0o2755, 0o755):
    said.append(attempt(os.chmod, "/dev/shm/test-attack", mode))
os.unlink("/dev/shm/test-attack")
say(said)
"""
    uid = ask(machine, "id -u alice").strip()
    ask(machine, f"install -m 4755 /usr/bin/id {planted}")
    try:
        assert run(machine, "alice", program, **unit(machine)) == [uid, "EPERM", "EPERM", "done"]
        assert run(machine, "alice", program, properties={}) == ["0", "done", "done", "done"]
    finally:
        ask(machine, f"rm -f {planted} /dev/shm/test-attack")


def test_a_file_of_anothers_is_not_taken_by_a_link_or_by_its_place() -> None:
    """In a home of one's own, where names are one's own."""
    planted = "/home/alice/.test-attack"
    program = f"""
def link(path):
    os.link(path, "/home/alice/.test-link")
    os.unlink("/home/alice/.test-link")
open("/home/alice/.test-own", "w").close()
said = [attempt(link, path) for path in ("/home/alice/.test-own", {planted!r}, "/etc/shadow", "/home/bob/.bashrc")]
said += [attempt(os.chmod, {planted!r}, 0o644), attempt(os.chown, {planted!r}, os.getuid(), -1)]
said += [attempt(os.chown, "/home/alice/.test-own", 2002, -1)]
os.unlink("/home/alice/.test-own")
say(said)
"""
    ask(HEAD, f"install -m 600 /dev/null {planted}")
    try:
        own, *others = run(HEAD, "alice", program, **unit(HEAD))
        assert own == "done"
        assert set(others) <= REFUSED
        assert run(HEAD, "root", program) == ["done"] * 7
    finally:
        ask(HEAD, f"rm -f {planted} /home/alice/.test-own /home/alice/.test-link")


@pytest.fixture(scope="module")
def hub() -> HubSession:
    """Bob at the hub, who ends and starts the server."""
    session = HubSession(FACILITY.front, "bob")
    session.log_in(FACILITY.password("bob"))
    return session


def plant(server: Kernel, how: str) -> None:
    """Put something else in the place of the file that holds the server's variables."""
    server.run(f"path = {VARIABLES!r}\nif os.path.exists(path): os.unlink(path)\n{how}\nsay(0)")


def test_root_follows_no_link_in_a_servers_directory(server: Kernel, hub: HubSession) -> None:
    """The hub and systemd write to it, change its owner and remove it; the researcher is free to plant there."""
    target = "/var/lib/test-attack"
    ask(HEAD, f"install -d -m 700 {target} && echo as it was > {target}/file && chmod 600 {target}/file")
    try:
        before = ask(HEAD, f"stat -c '%n %a %U %Y' {target} {target}/file")
        plant(server, f"os.symlink('{target}/file', path)\nos.symlink('{target}', '/run/{UNIT}/folder')")
        assert ask(HEAD, f"cat {VARIABLES} /run/{UNIT}/folder/file") == "as it was\n" * 2
        ask(HEAD, f"systemctl kill --signal=KILL {UNIT}")
        hub.stop()
        hub.start()
        server.begin()
        assert ask(HEAD, f"cat {target}/file") == "as it was\n"
        assert ask(HEAD, f"stat -c '%n %a %U %Y' {target} {target}/file") == before
    finally:
        ask(HEAD, f"rm -rf {target}")


def test_root_runs_nothing_with_a_researchers_variables(server: Kernel, hub: HubSession) -> None:
    """A server's end is followed by a command of root's. The loader writes a file where variables tell it to."""
    told = "LD_DEBUG=files\\nLD_DEBUG_OUTPUT=/run/test-attack\\n"
    written = "find /run -maxdepth 1 -name 'test-attack.*' -delete -print"
    ask(HEAD, f"printf '{told}' > /run/test-variables")
    try:
        control = "systemd-run --quiet --wait --collect --property=EnvironmentFile=/run/test-variables"
        ask(HEAD, f"{control} --property=ExecStopPost='/usr/sbin/nft --version' /bin/true")
        assert len(ask(HEAD, written).split()) == 2
        plant(server, f"with open(path, 'w') as file: file.write('{told}')")
        read = ask(HEAD, f"systemctl show --value --property=EnvironmentFiles {UNIT}").split()[0]
        assert server.run(f"say(outcome(os.unlink, {read!r}))") in REFUSED
        hub.stop()
        assert ask(HEAD, written) == ""
    finally:
        ask(HEAD, "rm -f /run/test-variables /run/test-attack.*")
