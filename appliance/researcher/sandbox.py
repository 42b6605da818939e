"""The systemd properties that every unit of a researcher has, whatever runs in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Properties = Mapping[str, str | list[str]]

# Where every program may write, and on a machine all programs share one. Memory of the unit's own, so that what lies
# there counts as the unit's memory and is gone with it.
TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108
_TEMPORARY_FILES_MAX = 200_000  # of each: an empty file takes a kilobyte of the kernel's memory


def temporary_files(size: str) -> list[str]:
    """Return the property ``TemporaryFileSystem`` that gives a unit temporary directories of its own.

    Args:
        size: the most that lies in each of them, such as ``1G``.
    """
    return [f"{path}:size={size},nr_inodes={_TEMPORARY_FILES_MAX},mode=1777,nosuid,nodev" for path in TEMPORARY]


# A list is given as one line for each of its values, as in a unit file.
SANDBOX: Properties = {
    # No new rights: no set-uid program, no capability, no namespace in which to have one.
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "RestrictSUIDSGID": "yes",
    "RestrictNamespaces": "yes",  # kept by role `node_base` where systemd reads its units anew
    # No process, file, device or key of anyone else.
    "TemporaryFileSystem": temporary_files("1G"),
    "PrivateDevices": "yes",
    "ProtectSystem": "strict",
    "ProtectProc": "invisible",
    "KeyringMode": "private",
    # Queues, semaphores and shared memory of a name space of the unit's own.
    "PrivateIPC": "yes",
    # `ProtectSystem` leaves /run as it is, with a directory for locks that is everybody's.
    "ReadOnlyPaths": "/run",
    # Where systemd keeps the command lines and variables of everybody's units, and a way to sshd past the firewall.
    "InaccessiblePaths": "-/run/systemd/transient -/run/ssh-unix-local",
    # Nothing of the kernel's own.
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "LockPersonality": "yes",
    # Real-time scheduling could starve the storage daemons.
    "RestrictRealtime": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
    # What programs ask of the kernel, without parts that no analysis needs and that often had faults. A program that
    # tries one of them gets an error and is not killed: many try io_uring first and then do without.
    "SystemCallFilter": [
        "@system-service",
        "~@keyring @setuid io_uring_enter io_uring_register io_uring_setup kcmp userfaultfd",
    ],
    "SystemCallErrorNumber": "EPERM",
    "SystemCallArchitectures": "native",
    # Swapped memory would be read back from the disks that serve everybody.
    "MemorySwapMax": "0",
}


def as_lines(properties: Properties) -> Iterator[str]:
    """Yield properties as ``NAME=VALUE``, as ``systemd-run --property`` takes them."""
    for name, value in properties.items():
        for each in value if isinstance(value, list) else [value]:
            yield f"{name}={each}"
