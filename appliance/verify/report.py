"""What was checked, how it went and how long it took."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterable, Iterator


@dataclasses.dataclass
class Check:
    """One thing that was tried. ``detail`` is what was seen, or what went wrong; ``seconds`` is the time it took."""

    name: str
    ok: bool = False
    detail: str = ""
    seconds: float = 0.0


class Report:
    """Checks in the order in which they were made."""

    def __init__(self, checks: Iterable[Check] = ()) -> None:
        self.checks = list(checks)

    @property
    def ok(self) -> bool:
        """Whether something was checked and all of it worked."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    @contextlib.contextmanager
    def check(self, name: str) -> Iterator[Check]:
        """Time what is done inside. An exception there is the check's failure, and the report goes on."""
        check = Check(name)
        self.checks.append(check)
        start = time.monotonic()
        try:
            yield check
            check.ok = True
        except Exception as error:  # every fault of the facility belongs into the report, whatever its kind
            check.detail = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        finally:
            check.seconds = time.monotonic() - start

    def as_table(self) -> str:
        """Return a table for people: check, result, seconds, and below it the details of what failed."""
        rows = [("check", "result", "seconds")]
        for check in self.checks:
            result = (check.detail or "ok") if check.ok else "FAILED"
            rows.append((check.name, result, f"{check.seconds:.1f}"))
        widths = [max(len(row[column]) for row in rows) for column in range(2)]
        lines = [f"{name:<{widths[0]}}  {result:<{widths[1]}}  {seconds:>7}" for name, result, seconds in rows]
        lines.insert(1, "  ".join("-" * width for width in (*widths, 7)))
        lines += [f"{check.name}: {check.detail}" for check in self.checks if not check.ok]
        return "\n".join(lines) + "\n"

    def as_lines(self) -> str:
        """Return one JSON object a line for each check, as `from_lines` reads them."""
        return "".join(json.dumps(dataclasses.asdict(check)) + "\n" for check in self.checks)

    @classmethod
    def from_lines(cls, text: str) -> Report:
        """Read what `as_lines` wrote; lines that are no objects (a program's chatter) are left out."""
        return cls(Check(**json.loads(line)) for line in text.splitlines() if line.startswith("{"))
