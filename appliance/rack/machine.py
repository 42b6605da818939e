"""One machine's life: its file system, its power switch, and whether it runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from appliance.rack import cgroups, disks, network, tree
from appliance.rack.model import Machine, Rack, RackError, layer_dir
from appliance.rack.shell import mount_points, run, succeeds

BOOT_PATIENCE = 60
NSPAWN_RUN = Path("/run/systemd/nspawn/propagate")  # nspawn leaves a folder there where /run is no tmpfs
HOST_KEY = "etc/ssh/ssh_host_ed25519_key"
INIT = "/usr/local/sbin/rack-init"
SSH_PORT = 22
HALT_SIGNAL = "SIGRTMIN+3"  # what nspawn is to send to systemd when nspawn itself is told to end
POWER_OFF_SIGNAL = signal.SIGRTMIN + 4  # what systemd as PID 1 takes as `systemctl poweroff`


def prepare(rack: Rack, machine: Machine) -> list[str]:
    """Lay the machine's own files over the tree where they are missing, attach its disks; return the disks' devices."""
    _mount(rack, machine)
    if not (machine.root / HOST_KEY).exists():
        _personalise(rack, machine)
    init = machine.root / INIT.removeprefix("/")
    _write(init, cgroups.init_script())
    init.chmod(0o755)
    return disks.attach(machine, rack.disk_gib)


def _personalise(rack: Rack, machine: Machine) -> None:
    """Write the machine's own files. Once only: from its first boot on, they are the roles' and users' to change."""
    root = machine.root
    (root / "etc/hostname").write_text(f"{machine.name}\n")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {machine.name}\n")
    _write(
        root / "etc/systemd/network/10-host0.network",
        "[Match]\nName=host0\n\n[Network]\n"
        f"Address={machine.address}/{rack.network.prefixlen}\nGateway={rack.gateway}\nLinkLocalAddressing=no\n",
    )
    wants = root / "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
    if not wants.is_symlink():
        wants.symlink_to("/usr/lib/systemd/system/systemd-networkd.service")
    access = root / "root/.ssh"
    access.mkdir(mode=0o700, exist_ok=True)
    _write(access / "authorized_keys", (rack.folder / "id_ed25519.pub").read_text())
    # Last, as it tells that all of the above is there.
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", machine.name, "-f", str(root / HOST_KEY))


def host_key(machine: Machine) -> str:
    """Return the machine's public host key, without its comment."""
    public = (machine.root / f"{HOST_KEY}.pub").read_text().split()
    return " ".join(public[:2])


def power_on(rack: Rack, machine: Machine) -> None:
    """Start the machine where it does not run, and return once its own systemd takes orders and limits.

    Raises:
        RackError: it did not boot; the message names its console's file.
    """
    if leader(machine) is not None:
        return
    cgroups.remove(machine.unit)
    devices = prepare(rack, machine)
    network.make_card(rack, machine)
    cgroups.make(machine.unit, rack.memory_limit(machine), rack.cpus)
    command = [
        "systemd-nspawn", f"--directory={machine.root}", f"--machine={machine.unit}", f"--hostname={machine.name}",
        "--register=no", "--keep-unit", f"--network-namespace-path={machine.network_namespace}",
        # nspawn leaves a machine the rights over its network only where nspawn itself made that network.
        "--capability=CAP_NET_ADMIN", f"--kill-signal={HALT_SIGNAL}", "--console=read-only", "--link-journal=no",
        "--resolv-conf=off", "--timezone=off", *(f"--bind={device}" for device in devices),
    ]  # fmt: skip
    # The same of the settings of its own network, which it may change as a machine of metal may.
    environment = os.environ | {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
    if cgroups.legacy():
        environment |= cgroups.LEGACY_ENVIRONMENT
        command.append("--setenv=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
    command.append(INIT)
    supervisor = cgroups.supervisor(machine.unit, command)
    with _console(machine).open("wb") as console:
        # A session of its own: the machine outlives the shell that started it.
        started = subprocess.Popen(
            supervisor,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env=environment,
            start_new_session=True,
        )
    _write(_pid_file(machine), f"{started.pid}\n")
    _wait(machine, started)


def _wait(machine: Machine, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + BOOT_PATIENCE
    while time.monotonic() < deadline:
        if started.poll() is not None:
            said = _console(machine).read_text(errors="replace").strip().splitlines()
            raise RackError(f"machine {machine.name} ended at its start; its console says: " + "\n".join(said[-5:]))
        with contextlib.suppress(OSError), socket.create_connection((machine.address, SSH_PORT), 1) as greeted:
            greeted.settimeout(1)
            if greeted.recv(4) == b"SSH-":
                return
        time.sleep(0.1)
    raise RackError(f"machine {machine.name} did not boot within {BOOT_PATIENCE} s; its console: {_console(machine)}")


def power_off(machine: Machine, patience: float = 30) -> None:
    """Shut the machine down in order, and pull its plug where that takes longer than ``patience`` seconds."""
    first = leader(machine)
    if first is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(first, POWER_OFF_SIGNAL)
        deadline = time.monotonic() + patience
        while leader(machine) is not None and time.monotonic() < deadline:
            time.sleep(0.1)
    pull_plug(machine)


def pull_plug(machine: Machine) -> None:
    """End the machine at once, as a power cut does; its disks and files stay."""
    cgroups.remove(machine.unit)
    _pid_file(machine).unlink(missing_ok=True)


def leader(machine: Machine) -> int | None:
    """Return the host's pid of the machine's first process; None when the machine does not run."""
    with contextlib.suppress(OSError, ValueError):
        started = int(_pid_file(machine).read_text())
        # A pid of an ended run may be another's by now: the name is checked.
        for pid in (started, *_children(started)):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"systemd-nspawn") and f"--machine={machine.unit}".encode() in words:
                return next(iter(_children(pid)), None)
    return None


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def remove(machine: Machine) -> None:
    """End the machine and remove its mounts, loop devices, cgroups and files."""
    pull_plug(machine)
    network.remove_card(machine)
    release(machine)
    with contextlib.suppress(OSError):
        (NSPAWN_RUN / machine.unit).rmdir()
    if machine.folder.exists():
        shutil.rmtree(machine.folder)


def release(machine: Machine) -> None:
    """Detach the disks of a machine that is off and unmount its root, so that its files hold all that it wrote.

    Raises:
        RackError: something uses the root.
    """
    disks.detach(machine.folder)
    for _ in range(20):
        if machine.root not in mount_points():
            return
        if not succeeds("umount", str(machine.root)):
            time.sleep(0.1)
    if machine.root in mount_points():
        raise RackError(f"{machine.root} is still mounted and busy; end what uses it, and try again")


def _mount(rack: Rack, machine: Machine) -> None:
    if machine.root in mount_points():
        return
    work = machine.folder / "work"
    for folder in (machine.upper, work, machine.root):
        folder.mkdir(parents=True, exist_ok=True)
    # A machine that was added later is in no earlier layer.
    lower = [path for layer in rack.layers if (path := layer_dir(layer) / machine.name).is_dir()]
    joined = ":".join(str(path) for path in (*lower, rack.tree or tree.path(rack.suite)))
    folders = f"lowerdir={joined},upperdir={machine.upper},workdir={work}"
    run("mount", "-t", "overlay", "overlay", "-o", folders, str(machine.root))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _console(machine: Machine) -> Path:
    return machine.folder / "console.log"


def _pid_file(machine: Machine) -> Path:
    return machine.folder / "pid"
