"""What one researcher takes of a machine ends at a limit that is told, and another researcher goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from intruder import run
from kernel import Kernel
from machines import STORES, ask, run_on, until

from appliance.researcher.slices import slice_of

MIB = 2**20
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")
# What the rack's inventory allows a notebook.
TEMPORARY_MAX, MEMORY_MAX, TASKS_MAX = 512 * MIB, 3 * 2**30, 1024
WORKS = "say(sum(range(1000)) + len([os.path.exists('/tmp')]))"


@pytest.fixture(scope="module")
def alice() -> Iterator[Kernel]:
    with Kernel("alice") as kernel:
        yield kernel


@pytest.fixture(scope="module")
def bob() -> Iterator[Kernel]:
    with Kernel("bob") as kernel:
        yield kernel


@pytest.mark.parametrize("folder", TEMPORARY)
def test_a_notebooks_temporary_directory_is_full_at_its_limit_and_nobody_elses(
    alice: Kernel, bob: Kernel, folder: str
) -> None:
    size, reason = alice.run(f"say(fill('{folder}/attack', {TEMPORARY_MAX + 64 * MIB}))")
    assert reason == "ENOSPC"
    assert TEMPORARY_MAX - 2 * MIB < size <= TEMPORARY_MAX
    # While it is full, in one cell: alice holds it, and bob and the machine have theirs.
    held = f"""
file = open('{folder}/held', 'wb', buffering=0)
say(outcome(lambda: [file.write(bytes(2**20)) for _ in range(600)]))
"""
    assert alice.run(held) == "ENOSPC"
    try:
        assert bob.run(f"say(fill('{folder}/mine', {200 * MIB}))") == [200 * MIB, "took all"]
        assert "held" not in bob.run(f"say(os.listdir('{folder}'))")
        assert "held" not in ask("head1", f"ls {folder}").split()
        assert run("head1", "root", f"say(attempt(lambda: open('{folder}/x', 'wb').write(bytes({MIB}))))") == MIB
    finally:
        alice.run(f"file.close()\nos.unlink('{folder}/held')\nsay(0)")
        ask("head1", f"rm -f {folder}/x")
    # Within the limit it works.
    assert alice.run(f"say(fill('{folder}/fits', {200 * MIB}))") == [200 * MIB, "took all"]


def test_a_notebooks_temporary_directory_holds_a_number_of_files(alice: Kernel, bob: Kernel) -> None:
    made, reason = alice.run(
        """
os.mkdir('/dev/shm/many')
made, reason = 0, 'took all'
try:
    while made < 300000:
        os.close(os.open(f'/dev/shm/many/{made}', os.O_CREAT))
        made += 1
except OSError as error:
    reason = errno.errorcode[error.errno]
import shutil
shutil.rmtree('/dev/shm/many')
say([made, reason])
"""
    )
    assert reason == "ENOSPC"
    assert 190_000 < made < 200_000
    assert bob.run("say(fill('/dev/shm/one', 1000, 10))") == [1000, "took all"]


def test_a_notebook_starts_a_number_of_processes(alice: Kernel, bob: Kernel) -> None:
    made, reason = alice.run(
        """
import signal, time
children, reason = [], 'took all'
try:
    while len(children) < 3000:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        children.append(child)
except OSError as error:
    reason = errno.errorcode[error.errno]
for child in children:
    os.kill(child, signal.SIGKILL)
for child in children:
    os.waitpid(child, 0)
say([len(children), reason])
"""
    )
    assert reason == "EAGAIN"
    assert TASKS_MAX // 2 < made < TASKS_MAX
    # Its owner's kernel, another's, and the machine go on.
    assert alice.run(WORKS) == bob.run(WORKS)
    fifty = "say(len([os.waitpid(child, 0) for child in [os.fork() or os._exit(0) for _ in range(50)]]))"
    assert bob.run(fifty) == 50


def test_memory_beyond_a_notebooks_limit_ends_the_kernel_and_nothing_else(alice: Kernel, bob: Kernel) -> None:
    server = alice.restarts()
    assert bob.run("kept = bytearray(64 * 2**20); say(len(kept))") == 64 * MIB
    assert alice.run(f"big = bytearray({MEMORY_MAX // 2}); n = len(big); del big; say(n)") == MEMORY_MAX // 2
    pid = alice.run("say(os.getpid())")
    alice.submit(f"big = [bytearray(b'1') * (64 * 2**20) for _ in range({2 * MEMORY_MAX // (64 * MIB)})]")
    # The server's own watch starts the kernel anew, as another process.
    until(lambda: not ask("head1", f"ps -o pid= -p {pid}", check=False).strip())
    assert alice.restarts() == server
    alice.begin()
    assert alice.run(WORKS) == bob.run(WORKS)
    assert bob.run("say(len(kept))") == 64 * MIB


@pytest.mark.parametrize("kind", ["notebooks.slice", "compute.slice"])
def test_all_units_of_one_researcher_have_the_memory_of_their_slice(kind: str) -> None:
    """The operator's own limit for one researcher is smaller here, and holds: it is read after the role's."""
    machine = "head1" if kind == "notebooks.slice" else STORES[0]
    uid = {user: int(ask(machine, f"id -u {user}")) for user in ("alice", "bob")}
    own, others = (slice_of(kind, uid[user]) for user in ("alice", "bob"))
    # Alice's server is in the slice as well, so that the limit has to be above what that uses.
    grab = "x = bytearray(b'1') * (1500 * 2**20); say(len(x))"
    assert run(machine, "alice", grab, slice_=own) == 1500 * MIB
    ask(machine, f"systemctl set-property {own} MemoryMax=1G")
    try:
        with pytest.raises(AssertionError):
            run(machine, "alice", grab, slice_=own)
        assert run(machine, "alice", "say(len(bytearray(b'1') * 2**20))", slice_=own) == MIB
        assert run(machine, "bob", grab, slice_=others) == 1500 * MIB
    finally:
        ask(machine, f"systemctl revert {own}")
    shown = ask(machine, f"systemctl show --value -p MemoryMax {own}").strip()
    assert shown == str(3 * 2**30)


@pytest.mark.parametrize("kind", ["notebooks.slice", "compute.slice"])
def test_all_units_of_one_researcher_have_the_tasks_of_their_slice(kind: str) -> None:
    machine = "head1" if kind == "notebooks.slice" else STORES[0]
    uid = {user: int(ask(machine, f"id -u {user}")) for user in ("alice", "bob")}
    own, others = (slice_of(kind, uid[user]) for user in ("alice", "bob"))
    many = """
import threading
stop, made = threading.Event(), 0
try:
    for _ in range(150):
        threading.Thread(target=stop.wait, daemon=True).start()
        made += 1
except RuntimeError:
    pass
stop.set()
say(made)
"""
    assert run(machine, "alice", many, slice_=own) == 150
    ask(machine, f"systemctl set-property {own} TasksMax=64")
    try:
        assert 10 < run(machine, "alice", many, slice_=own) < 64
        assert run(machine, "bob", many, slice_=others) == 150
    finally:
        ask(machine, f"systemctl revert {own}")
    assert ask(machine, f"systemctl show --value -p TasksMax {own}").strip() == "8192"


def test_a_researcher_shows_in_the_terminal_what_they_have_and_may_have(alice: Kernel) -> None:
    limits = alice.run("import appliance.quota\nsay(appliance.quota.report().to_dict())")
    assert limits["unanswered"] == []
    found = {one["what"]: one for one in limits["limits"]}
    assert found["bytes in S3"]["most"] == 2**40
    assert found["objects in S3"]["most"] == 10_000_000
    assert found["buckets"]["most"] == 100
    assert found["buckets"]["used"] >= 1
    assert found["Dask clusters"]["most"] == 4
    assert found["/tmp"]["most"] == TEMPORARY_MAX
    assert found["memory of this server"]["most"] == MEMORY_MAX
    assert found["processes and threads"]["most"] == TASKS_MAX
    said = alice.run(
        "import subprocess\nsay(subprocess.run(['appliance', 'quota'], capture_output=True, text=True).stdout)"
    )
    assert "bytes in S3" in said
    assert "1.0 TiB" in said


def test_a_researchers_limits_are_below_those_of_all() -> None:
    for machine, kind in (("head1", "notebooks.slice"), (STORES[0], "compute.slice")):
        uid = int(ask(machine, "id -u alice"))
        for name in ("MemoryMax", "TasksMax"):
            own, of_all = (
                int(ask(machine, f"systemctl show --value -p {name} {slice_}"))
                for slice_ in (slice_of(kind, uid), kind)
            )
            assert own < of_all, (machine, name)
    assert run_on("head1", "test -e /etc/systemd/system/notebooks-.slice.d/40-appliance.conf").returncode == 0
