"""What a site says about its hub: one JSON file, checked as a whole before a hub is started with it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

_BYTES = re.compile(r"[1-9][0-9]*[KMGT]")
_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_URL = re.compile(r"(https?|gateway)://[^\s/:]+(:[0-9]{1,5})?(/\S*)?")
_LARGEST_PORT = 65535


class SettingsError(ValueError):
    """The settings cannot be used. The message holds one line for each fault."""


@dataclass(frozen=True)
class HubSettings:
    """The hub's settings.

    ``memory_limit`` is a number of bytes with one of the suffixes K, M, G, T (powers of 1024), ``cpu_limit`` a
    number of cores (1.5 = one and a half). Ports are those of the head, addresses are as the head sees them.
    """

    site_name: str
    researchers_group: str
    public_port: int
    hub_port: int
    proxy_api_port: int
    memory_limit: str
    cpu_limit: float
    tasks_limit: int
    environment_link: str
    s3_endpoint: str
    s3_credentials: str
    placement_url: str
    gateway_url: str
    gateway_proxy_address: str

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> HubSettings:
        """Make settings of a parsed JSON object; raise `SettingsError` that names every fault at once."""
        known = {field.name for field in fields(cls)}
        faults = [f"{name}: is missing" for name in sorted(known - values.keys())]
        faults += [f"{name} = {values[name]!r}: no such setting" for name in sorted(values.keys() - known)]
        faults += [fault for name in sorted(known & values.keys()) if (fault := _fault(name, values[name]))]
        ports = [name for name in ("public_port", "hub_port", "proxy_api_port") if name in values]
        if len({values[name] for name in ports}) < len(ports):
            faults.append(f"{', '.join(ports)}: two of them are the same port; each listens by itself")
        if faults:
            raise SettingsError("\n".join(faults))
        return cls(**values)

    @classmethod
    def from_file(cls, path: Path) -> HubSettings:
        """Read ``path``; raise `SettingsError` where it is no JSON object or has a fault."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SettingsError(f"{path}: cannot be read as JSON: {error}") from error
        if not isinstance(values, dict):
            raise SettingsError(f"{path}: holds {type(values).__name__}, not an object of settings")
        return cls.from_mapping(values)


def _fault(name: str, value: object) -> str | None:
    """What is wrong with one setting, with its value and the way out, or nothing."""
    said = f"{name} = {value!r}"
    if name.endswith("_port"):
        right = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_PORT
        return None if right else f"{said}: give a port from 1 to {_LARGEST_PORT}"
    if name == "cpu_limit":
        right = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        return None if right else f"{said}: give a number of cores above 0, such as 2 or 0.5"
    if name == "tasks_limit":
        right = isinstance(value, int) and not isinstance(value, bool) and value >= 64
        return None if right else f"{said}: give a whole number of at least 64; a notebook's threads alone need that"
    if not isinstance(value, str) or not value:
        return f"{said}: give a text that is not empty"
    if name == "memory_limit" and not _BYTES.fullmatch(value):
        return f"{said}: give a whole number and one of K, M, G, T, such as 2G"
    if name == "researchers_group" and not _NAME.fullmatch(value):
        return f"{said}: give the name of a Unix group"
    if name.endswith(("_url", "_endpoint", "_proxy_address")) and not _URL.fullmatch(value):
        return f"{said}: give an address such as http://127.0.0.1:7483"
    if name in ("environment_link", "s3_credentials") and not value.startswith("/"):
        return f"{said}: give a path from the root"
    return None


def main(arguments: list[str] | None = None) -> int:
    """``python -m appliance.hub.settings FILE``: say what is wrong with a settings file before it is installed."""
    (path,) = sys.argv[1:] if arguments is None else arguments
    try:
        HubSettings.from_file(Path(path))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
