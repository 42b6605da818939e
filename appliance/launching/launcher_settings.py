"""What a storage host's launcher is told by the role ``compute_node``: one JSON file. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from appliance.checked_json import (
    AbsolutePath,
    AbsolutePaths,
    Check,
    Port,
    PositiveWhole,
    Text,
    Url,
    check_file,
    is_text,
    read_file,
)

Names = Annotated[
    tuple[str, ...],
    Check(lambda value: isinstance(value, list) and all(map(is_text, value)), "give a list of accounts' names"),
]


@dataclass(frozen=True, kw_only=True)
class LauncherSettings:
    """The launcher's settings.

    Attributes:
        host: the machine's name in the inventory.
        address: at which schedulers and workers listen.
        port_min: the first of their ports.
        port_max: the last.
        slice: the systemd slice of their units.
        users: the researchers.
        uid_min: the least uid of a researcher.
        uid_max: the greatest.
        memory_max: the most that one unit may use, in bytes.
        cores_max: the most that one unit may use.
        threads_max: the most of one worker.
        temporary_max: the most that lies in each of a unit's temporary directories, in bytes.
        environments: that units may run from: store paths, or links to them that are followed at each start.
        s3_keys: the directory of the researchers' S3 keys.
        gateway_api_url: the gateway's API, to which schedulers report.
        s3_endpoint: S3, as this machine sees it.
        placement_url: the placement service, as this machine sees it.
    """

    host: Text
    address: Text
    port_min: Port
    port_max: Port
    slice: Text
    users: Names
    uid_min: PositiveWhole
    uid_max: PositiveWhole
    memory_max: PositiveWhole
    cores_max: PositiveWhole
    threads_max: PositiveWhole
    temporary_max: PositiveWhole
    environments: AbsolutePaths
    s3_keys: AbsolutePath
    gateway_api_url: Url
    s3_endpoint: Url
    placement_url: Url

    @classmethod
    def from_file(cls, path: Path) -> LauncherSettings:
        """Read the settings; raise `appliance.checked_json.FaultyError` where they have a fault."""
        return read_file(cls, path)


main = partial(check_file, LauncherSettings)

if __name__ == "__main__":
    raise SystemExit(main())
