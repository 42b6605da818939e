"""Which S3 keys end when, as the cluster keeps it: an entry of its config-key store for each key.

An entry stands at ``PLACE`` with the access key as the last part of its name. It is an object of JSON: ``user``,
``ends`` (seconds of Unix), and ``hours``, for which the key stays valid once all machines have the one in its place;
an entry has one of the two or both. appliance/s3_keys.py ends the keys whose time has come.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.module_utils.ceph_cli import Cluster

PLACE = "appliance/s3-keys-ending/"
SECONDS = 3600  # of an hour


def noted(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """The entries by access key."""
    found = cluster.ask("config-key dump", key=PLACE)
    return {name.removeprefix(PLACE): json.loads(entry) for name, entry in found.items()}


def note(cluster: Cluster, keys: Iterable[tuple[str, str]], hours: float) -> None:
    """Say that keys, each a user with an access key, end so many hours after all machines have other ones.

    What is known already of when one ends stays.
    """
    known = noted(cluster)
    _keep(cluster, {key: {**known.get(key, {}), "user": user, "hours": hours} for user, key in keys})


def waiting(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """The entries whose hours have not begun."""
    return {key: entry for key, entry in noted(cluster).items() if "hours" in entry}


def begin(cluster: Cluster, entries: Mapping[str, Mapping[str, Any]], now: float) -> None:
    """Have the hours of entries begin at ``now`` (seconds of Unix); who ends sooner already goes on to."""
    _keep(
        cluster,
        {
            key: {"user": entry["user"], "ends": min(int(now + entry["hours"] * SECONDS), entry.get("ends", 2**53))}
            for key, entry in entries.items()
        },
    )


def _keep(cluster: Cluster, entries: Mapping[str, Mapping[str, Any]]) -> None:
    cluster.tell(
        [{"prefix": "config-key set", "key": PLACE + key, "val": json.dumps(entry)} for key, entry in entries.items()]
    )
