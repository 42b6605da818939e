"""What a researcher's processes hold in memory, and what the kernel does: no other researcher gets to it."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from intruder import command, run
from kernel import Kernel
from machines import HEAD, RACK, STORES, ask

from appliance.rack.lifecycle import ssh_command
from appliance.researcher.sandbox import SANDBOX

STORE = STORES[0]
PLACES = (HEAD, STORE)
CANARY = "a canary of the tests"
WORKER: dict[str, Any] = {"slice_": "compute.slice", "properties": {**SANDBOX, "ProtectHome": "yes"}}

# Holds the canary in memory, in a file of memory, in shared memory, in a queue, and in a terminal's input.
HOLD = f"""
import ctypes, mmap, pty
canary = {CANARY!r}.encode()
kept = ctypes.create_string_buffer(canary)
memory = os.memfd_create("canary")
os.write(memory, canary)
with open("/dev/shm/test-canary", "wb") as file:
    file.write(canary)
os.chmod("/dev/shm/test-canary", 0o666)
os.close(os.open("/dev/mqueue/test-canary", os.O_CREAT, 0o600))
_, terminal = pty.openpty()
told = dict(pid=os.getpid(), address=ctypes.addressof(kept), memory=memory, terminal=os.ttyname(terminal))
"""
RELEASE = "os.unlink('/dev/shm/test-canary')\nos.unlink('/dev/mqueue/test-canary')\n"

# What /proc shows of a process, each read as far as it goes at once.
OF_A_PROCESS = [
    *["environ", "mem", "maps", "smaps", "pagemap", "map_files", "cmdline", "auxv", "stat", "status", "stack"],
    *["syscall", "io", "fdinfo", "task", "timers", "exe", "cwd", "root", "root/dev/shm/test-canary", "ns/mnt"],
]
SEE = f"""
def see(name):
    path = f"/proc/{{told['pid']}}/{{name}}"
    if name in ("exe", "cwd", "root", "ns/mnt"):
        return os.readlink(path)
    if os.path.isdir(path):
        return len(os.listdir(path))
    with open(path, "rb") as file:
        if name == "mem":
            file.seek(told["address"])
        return len(file.read({len(CANARY)}))
say({{name: attempt(see, name) for name in [*{OF_A_PROCESS!r}, f"fd/{{told['memory']}}"]}})
"""

# Ways to a process by its number. None needs /proc, and none changes the process.
BY_NUMBER = """
import ctypes, signal
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    return "done" if libc.syscall(number, *words) >= 0 else errno.errorcode[ctypes.get_errno()]
pid, word = told["pid"], ctypes.c_ulong()
own, size = ctypes.create_string_buffer(64), ctypes.c_size_t()
class Part(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
mine, theirs = Part(ctypes.addressof(own), LENGTH), Part(told["address"], LENGTH)
said = {
    "process_vm_readv": call(310, pid, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0),
    "process_vm_writev": call(311, pid, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0),
    "get_robust_list": call(274, pid, ctypes.byref(word), ctypes.byref(size)),
    "move_pages": call(279, pid, 0, 0, 0, 0, 0),
    "kill": call(62, pid, 0),
    "pidfd_send_signal": call(424, os.pidfd_open(pid), 0, 0, 0),
    "ioprio_set": call(251, 1, pid, 0),
    "setpriority": call(141, 0, pid, os.getpriority(os.PRIO_PROCESS, pid)),
    "kcmp": call(312, os.getpid(), pid, 1, 0, 0),
    "ptrace": call(101, 0x4206, pid, 0, 0),
}
said["read"] = own.value.decode()
say(said)
""".replace("LENGTH", str(len(CANARY)))

# Files of the kernel's own memory. Some are not there where the kernel was made without them.
OF_THE_KERNEL = [
    *["/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/proc/kcore", "/proc/kallsyms", "/proc/kmsg"],
    *["/proc/kpageflags", "/proc/kpagecount", "/proc/vmallocinfo", "/proc/slabinfo", "/proc/timer_list"],
    *["/sys/kernel/debug/kmemleak", "/sys/kernel/tracing/trace", "/proc/sysrq-trigger"],
]

# System calls by their numbers, with arguments that change nothing.
CALLS = {
    "ptrace": (101, 16, 0, 0, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "bpf": (321, 0, 0, 0),
    "userfaultfd": (323, 0),
    "keyctl": (250, 0, -3, 0),
    "add_key": (248, "user", "test", "x", 1, -3),
    "request_key": (249, "user", "test", 0, 0),
    "kcmp": (312, 1, 1, 0, 0, 0),
    "pidfd_getfd": (438, -1, 0, 0),
    "swapon": (167, "/none", 0),
    "swapoff": (168, "/none"),
    "kexec_load": (246, 0, 0, 0, 0),
    "init_module": (175, 0, 0, ""),
    "iopl": (172, 3),
    "ioperm": (173, 128, 1, 1),
    "syslog": (103, 10, 0, 0),
    "memfd_secret": (447, 0),
    "io_uring_setup": (425, 0, 0),
    "mount": (165, "none", "/none", "tmpfs", 0, 0),
    "umount2": (166, "/none", 0),
    "pivot_root": (155, "/none", "/none"),
    "chroot": (161, "/none"),
    "fsopen": (430, "none", 0),
    "open_tree": (428, -1, "/none", 0),
    "move_mount": (429, -1, "/none", -1, "/none", 0),
    "mount_setattr": (442, -1, "/none", 0, 0, 0),
    "open_by_handle_at": (304, -1, 0, 0),
    "fanotify_init": (300, 0, 0),
    "acct": (163, "/none"),
}
CALL = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    words = [word.encode() if isinstance(word, str) else ctypes.c_long(word) for word in arguments]
    return "done" if libc.syscall(number, *words) >= 0 else errno.errorcode[ctypes.get_errno()]
say({{name: call(*words) for name, words in json.loads({json.dumps(CALLS)!r}).items()}})
"""


@dataclass(frozen=True)
class Victim:
    """A process of alice's that holds a canary, and what it tells of itself."""

    machine: str
    told: dict[str, Any]

    def asked(self, user: str, program: str) -> Any:
        """What somebody else's process says who knows all that alice's could tell."""
        return run(self.machine, user, f"told = {self.told!r}\n{program}")


@contextlib.contextmanager
def worker() -> Iterator[dict[str, Any]]:
    """A process in the sandbox of a worker, on a storage machine; it ends with its input."""
    words = [*ssh_command(RACK, STORE), command("alice", f"{HOLD}say(told)\nsys.stdin.read()\n{RELEASE}", **WORKER)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield json.loads(process.stdout.readline())
        process.communicate()


@pytest.fixture(scope="module")
def victims() -> Iterator[dict[str, Victim]]:
    """A kernel in alice's real server, and a process as a worker is, by their machines."""
    with Kernel("alice") as kernel, worker() as told:
        yield {HEAD: Victim(HEAD, kernel.run(f"{HOLD}say(told)")), STORE: Victim(STORE, told)}
        kernel.run(f"{RELEASE}say(0)")


@pytest.mark.parametrize("machine", PLACES)
def test_nothing_of_anothers_process_is_seen(victims: dict[str, Victim], machine: str) -> None:
    said = victims[machine].asked("bob", SEE)
    assert said == dict.fromkeys(said, "ENOENT")
    roots = victims[machine].asked("root", SEE)
    assert [name for name, answer in roots.items() if answer in ("ENOENT", "EACCES", "EPERM")] == []
    assert roots["mem"] == roots["root/dev/shm/test-canary"] == len(CANARY)


@pytest.mark.parametrize("machine", PLACES)
def test_no_process_is_reached_by_its_number(victims: dict[str, Victim], machine: str) -> None:
    said = victims[machine].asked("bob", BY_NUMBER)
    assert said.pop("read") == ""
    assert {way: answer for way, answer in said.items() if answer not in ("EPERM", "EACCES")} == {}
    roots = victims[machine].asked("root", BY_NUMBER)
    assert roots.pop("read") == CANARY
    assert roots == dict.fromkeys(said, "done")


@pytest.mark.parametrize("machine", PLACES)
def test_no_shared_memory_and_no_terminal_of_anothers_is_opened(victims: dict[str, Victim], machine: str) -> None:
    """By name. The shared memory is open for all by its mode, as a careless program leaves it."""
    program = """
def opens(path):
    os.close(os.open(path, os.O_RDONLY | os.O_NOCTTY))
say([attempt(opens, path) for path in ("/dev/shm/test-canary", told["terminal"])])
"""
    assert victims[machine].asked("bob", program) == ["ENOENT", "EACCES"]
    assert victims[machine].asked("alice", program)[1] == "done"
    shown = ask(machine, f"cat /proc/{victims[machine].told['pid']}/root/dev/shm/test-canary; ls /dev/shm")
    assert shown.startswith(CANARY)
    assert "test-canary" not in shown


@pytest.mark.parametrize("machine", PLACES)
def test_no_message_queue_of_anothers_is_opened_and_none_is_named(victims: dict[str, Victim], machine: str) -> None:
    """Those of POSIX, which have owners and modes as files have."""
    program = """
say([attempt(os.open, "/dev/mqueue/test-canary", os.O_RDONLY) in ("EACCES", "ENOENT"), os.listdir("/dev/mqueue")])
"""
    assert victims[machine].asked("bob", program) == [True, []]
    within = f"nsenter --target {victims[machine].told['pid']} --mount --ipc"
    assert ask(machine, f"{within} ls /dev/mqueue").split() == ["test-canary"]


@pytest.mark.parametrize("machine", PLACES)
def test_the_kernels_memory_is_not_read(machine: str) -> None:
    program = f"""
def opens(path):
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
with open("/proc/keys") as keys:
    say([len(keys.readlines()), {{path: attempt(opens, path) for path in {OF_THE_KERNEL!r}}}])
"""
    keys, said = run(machine, "bob", program)
    assert keys <= 1, "more than its own keyring"
    assert {path: answer for path, answer in said.items() if answer not in ("ENOENT", "EACCES", "EPERM")} == {}
    keys, roots = run(machine, "root", program)
    assert keys > 1
    there = [answer for answer in roots.values() if answer != "ENOENT"]
    assert len(there) > 5
    assert set(there) == {"done"}


@pytest.mark.parametrize("machine", PLACES)
def test_the_sandbox_refuses_calls_that_reach_into_the_kernel(machine: str) -> None:
    """Its own refusals are told by an error that the kernel gives for none of these calls."""
    told = {**SANDBOX, "SystemCallErrorNumber": "EUCLEAN"}
    without = {name: value for name, value in SANDBOX.items() if not name.startswith("SystemCall")}
    assert run(machine, "bob", CALL, properties=told) == dict.fromkeys(CALLS, "EUCLEAN")
    assert "EUCLEAN" not in run(machine, "bob", CALL, properties=without).values()
