"""What the depot was asked for, and what it had to fetch: read from its own access log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

# HIT: from the cache. REVALIDATED: the mirror said that the copy is current. STALE and UPDATING: the copy served while
# the mirror was away or asked. All of these spared a download; MISS and EXPIRED fetched the file.
_SPARED = ("HIT", "REVALIDATED", "STALE", "UPDATING")


@dataclass
class Traffic:
    """Counts of requests and bytes for one kind of content."""

    requests: int = 0
    hits: int = 0
    misses: int = 0
    failures: int = 0
    bytes_served: int = 0
    """Bytes sent to machines, headers included."""
    bytes_fetched: int = 0
    """Bytes received from the mirror, headers included (a file that the mirror calls unchanged costs some 300)."""

    def add(self, other: Traffic) -> None:
        """Add the counts of ``other`` to these, in place."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


def _kind(path: str) -> str:
    first = path.split("?")[0].lstrip("/").split("/", 1)[0]
    return first if first in ("debian", "debian-security", "wheels", "nix") else "other"


def _upstream_bytes(value: str) -> int:
    # One figure for each server tried, as "512, 2048" or "512 : 2048"; "-" or nothing where none was asked.
    return sum(int(word) for word in value.replace(",", " ").replace(":", " ").split() if word.isdigit())


def read(lines: Iterable[str]) -> dict[str, Traffic]:
    """Sum an access log up, by kind of content. A line cut short by a crash is passed over."""
    totals: dict[str, Traffic] = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        cache = entry["cache"]
        spared = cache in _SPARED or cache in ("", "-")
        kind = _kind(entry["path"])
        # Nix asks the cache before it builds: that something is not there is an answer.
        failed = int(entry["status"]) >= 400 and not (kind == "nix" and int(entry["status"]) == 404)
        totals.setdefault(kind, Traffic()).add(
            Traffic(
                requests=1,
                hits=int(spared and not failed),
                misses=int(not spared and not failed),
                failures=int(failed),
                bytes_served=int(entry["sent"]),
                bytes_fetched=_upstream_bytes(entry["upstream"]),
            )
        )
    return totals


def read_log(path: Path) -> dict[str, Traffic]:
    """As `read`, from a file; nothing where there is no file yet."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8") as lines:
        return read(lines)
