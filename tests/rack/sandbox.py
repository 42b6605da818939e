"""What a running unit of a researcher has of the common sandbox, as systemd and the kernel say it."""

from __future__ import annotations

import textwrap

from appliance.demo.facility import Facility
from appliance.researcher.sandbox import SANDBOX

# Sets that the filter allows or forbids are shown as their system calls, so that some of each are asked for.
ALLOWED, FORBIDDEN = (
    {"read", "openat", "clone", "execve", "chown"},
    {"mount", "ptrace", "bpf", "keyctl", "io_uring_setup"},
)

# Run by a process inside a unit: each attempt must fail, and the process must live.
ATTEMPTS = textwrap.dedent("""
    import ctypes, errno
    libc = ctypes.CDLL(None, use_errno=True)
    def attempt(function, *arguments):
        ctypes.set_errno(0)
        return "done" if getattr(libc, function)(*arguments) >= 0 else errno.errorcode[ctypes.get_errno()]
    attempts = {
        "user namespace": attempt("unshare", 0x10000000),
        "network namespace": attempt("unshare", 0x40000000),
        "mount": attempt("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "keyring": attempt("syscall", 250, 0, 0, 0),
        "io_uring": attempt("syscall", 425, 1, 0),
        "ptrace": attempt("ptrace", 16, 1, 0, 0),
        "real time": attempt("sched_setscheduler", 0, 1, ctypes.byref(ctypes.c_int(1))),
        "personality": attempt("personality", 8),
        "packets": attempt("socket", 17, 3, 0),
    }
""")

# What an analysis does: HDF5, a file given to a group, a shell with a pipe, forked processes, linear algebra.
NEEDS = textwrap.dedent("""
    import multiprocessing, os, subprocess, tempfile
    import h5py, numpy as np
    with tempfile.TemporaryDirectory() as folder:
        with h5py.File(f"{folder}/a.h5", "w") as file:
            file["x"] = np.arange(1000.0)
        with h5py.File(f"{folder}/a.h5") as file:
            total = float(file["x"][:].sum())
        os.chown(f"{folder}/a.h5", -1, os.getgid())
        subprocess.run(["/bin/sh", "-c", f"nice cat {folder}/a.h5 | wc -c"], check=True, capture_output=True)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        forked = pool.map(abs, [-1, -2])
    print(total, forked, float((np.ones((300, 300)) @ np.ones((300, 300)))[0, 0]))
""")


def properties_of(facility: Facility, host: str, unit: str) -> dict[str, str]:
    """Return a unit's properties that the common sandbox names."""
    asked = ",".join(SANDBOX)
    said = facility.run(host, "systemctl", "show", f"--property={asked}", unit).decode()
    return dict(line.split("=", 1) for line in said.splitlines())


def lacking(facility: Facility, host: str, unit: str) -> list[str]:
    """Return what a unit lacks of the common sandbox, one line each, once systemd has read its units anew.

    That happens whenever a package or a role brings a unit, and is where systemd itself loses a part of the sandbox.
    """
    facility.run(host, "systemctl", "daemon-reload")
    found = properties_of(facility, host, unit)
    calls = set(found["SystemCallFilter"].split())
    faults = [f"SystemCallFilter: lacks {name}" for name in sorted(ALLOWED - calls)]
    faults += [f"SystemCallFilter: allows {name}" for name in sorted(FORBIDDEN & calls)]
    # Shown by systemd in its own words.
    shown = {"SystemCallErrorNumber": "1", "SystemCallArchitectures": "native"}
    for name, value in SANDBOX.items():
        if isinstance(value, list):
            continue
        wanted = set(shown.get(name, value).split())
        if set(found[name].split()) != wanted:
            faults.append(f"{name} = {found[name]!r}, not {value!r}")
    return faults
