"""The systemd properties that every unit of a researcher has, whatever runs in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Properties = Mapping[str, str | list[str]]

# A list is given as one line for each of its values, as in a unit file.
SANDBOX: Properties = {
    # No new rights: no set-uid program, no capability, no namespace in which to have one.
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "RestrictSUIDSGID": "yes",
    "RestrictNamespaces": "yes",  # kept by role `node_base` where systemd reads its units anew
    # No process, file, device or key of anyone else.
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectSystem": "strict",
    "ProtectProc": "invisible",
    "KeyringMode": "private",
    # Where systemd keeps the command lines and variables of everybody's units.
    "InaccessiblePaths": "-/run/systemd/transient",
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
