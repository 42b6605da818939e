"""The demo's figures, and which of them must hold."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

# What must hold for the demo to have succeeded. Times are measured and told, and judged by whoever knows the machine.
LARGEST_CHANGED = 0
SMALLEST_LOCAL_SHARE = 0.99
LARGEST_WIRE_BYTES = 0.02
LARGEST_ERROR_KELVIN = 1e-5


@dataclass(frozen=True)
class DemoReport:
    """One run of the demo. Times in s, errors in K, ``wire_bytes_per_byte_read`` on the machines' cards.

    ``site_seconds`` is the time from bare machines only where ``new_rack`` is true: no rack of the name stood before.
    """

    new_rack: bool
    site_seconds: float
    second_run_seconds: float
    second_run_changed: int
    spawn_seconds: float
    lab_seconds: float
    new_cluster_seconds: float
    notebook_seconds: float
    reduction_seconds: float
    reduction_bytes: int
    reads_local_share: float
    wire_bytes_per_byte_read: float
    wire_bytes_by_machine: dict[str, int]
    max_abs_error: float
    made_max_abs_error: float
    data: list[str]

    def faults(self) -> list[str]:
        """Return what does not hold, each with its figure and its bound."""
        bounds = [
            ("second_run_changed", self.second_run_changed <= LARGEST_CHANGED, f"at most {LARGEST_CHANGED}"),
            ("reads_local_share", self.reads_local_share >= SMALLEST_LOCAL_SHARE, f"at least {SMALLEST_LOCAL_SHARE}"),
            (
                "wire_bytes_per_byte_read",
                self.wire_bytes_per_byte_read <= LARGEST_WIRE_BYTES,
                f"at most {LARGEST_WIRE_BYTES}",
            ),
            ("max_abs_error", self.max_abs_error <= LARGEST_ERROR_KELVIN, f"at most {LARGEST_ERROR_KELVIN} K"),
            (
                "made_max_abs_error",
                self.made_max_abs_error <= LARGEST_ERROR_KELVIN,
                f"at most {LARGEST_ERROR_KELVIN} K",
            ),
            ("reduction_bytes", self.reduction_bytes >= 2**30, f"at least {2**30} bytes"),
        ]
        return [f"{name} = {getattr(self, name)}: must be {bound}" for name, holds, bound in bounds if not holds]

    def write(self, path: Path) -> None:
        """Write the figures as one JSON object."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
