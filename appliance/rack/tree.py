"""The file system that all machines start from, made once by mmdebstrap and kept in the cache.

mmdebstrap and not debootstrap: the same packages for a third of the processor time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from appliance.rack.model import RackError, cache_dir
from appliance.rack.shell import run

# What Ansible needs on a bare machine, and no more: everything else is the roles' work.
PACKAGES = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "iputils-ping",
    "openssh-server",
    "python3",
    "python3-apt",
    "systemd",
    "systemd-sysv",
)
# Of how a tree is made from its packages: count it up with each change.
VERSION = "3"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def host_mirror() -> str:
    """Return the Debian mirror that the control host itself uses.

    Raises:
        RackError: the host's package sources name none.
    """
    for line in run("apt-get", "indextargets", "--format", "$(CREATED_BY) $(ORIGIN) $(SITE) $(REPO_URI)").splitlines():
        created_by, origin, *rest = line.split()
        if created_by == "Packages" and origin == "Debian" and not rest[-1].rstrip("/").endswith("-security"):
            return rest[-1].rstrip("/")
    raise RackError(
        "no Debian mirror in this host's package sources (or `apt-get update` never ran); name one with --mirror URL"
    )


def path(suite: str) -> Path:
    """Return where the tree of ``suite`` lies, made or not; another list of packages is another tree."""
    key = hashlib.sha256(" ".join((VERSION, suite, *PACKAGES)).encode()).hexdigest()[:12]
    return cache_dir() / "trees" / f"{suite}-{key}"


def make(suite: str, mirror: str | None) -> Path:
    """Return the tree of ``suite``, made from ``mirror`` (default: the host's own) where the cache has none.

    The tree appears under its name only when it is whole, so that an aborted run leaves none that looks made.

    Raises:
        RackError: mmdebstrap failed.
    """
    tree = path(suite)
    with _lock(tree.with_suffix(".lock")) as lock:
        if tree.exists():
            return tree
        draft = tree.with_suffix(".draft")
        if draft.exists():
            shutil.rmtree(draft)
        # In namespaces of its own, so that its processes and mounts end with it; and it ends with us, however we end.
        run(
            "setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
            "mmdebstrap", "--mode=root", "--variant=minbase", f"--keyring={KEYRING}",
            f"--include={','.join(PACKAGES)}", '--aptopt=Acquire::Languages "none"',
            suite, str(draft), mirror or host_mirror(),
            timeout=900, keep_open=[lock],
        )  # fmt: skip
        _strip(draft)
        draft.rename(tree)
    return tree


def _strip(tree: Path) -> None:
    """Take from the tree what each machine has to have of its own, and the mirror it was made from."""
    (tree / "etc/machine-id").write_text("")
    (tree / "etc/apt/sources.list").write_text("")
    # The host's name server is out of a machine's reach, and asking it in vain takes seconds each time.
    copied = ("etc/resolv.conf", "etc/hostname", "etc/apt/apt.conf.d/99mmdebstrap", "var/lib/dbus/machine-id")
    for file in (*(tree / name for name in copied), *(tree / "etc/ssh").glob("ssh_host_*")):
        file.unlink(missing_ok=True)
    # A rack is made anew when it breaks: no package needs its every file synced to the disk while it unpacks.
    (tree / "etc/dpkg/dpkg.cfg.d/rack").write_text("force-unsafe-io\n")
    # Nothing but the roles installs packages, and a timer of apt's would take their lock from them.
    for timer in ("apt-daily", "apt-daily-upgrade"):
        (tree / f"etc/systemd/system/{timer}.timer").symlink_to("/dev/null")


@contextlib.contextmanager
def _lock(file: Path) -> Iterator[int]:
    """Let one run at a time make the tree; a second one waits for it and finds it made.

    Yields the lock's descriptor: a child that inherits it keeps the lock, even when this process is killed.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another run to make the machines' tree", file=sys.stderr)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
