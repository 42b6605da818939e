"""A thousand commits of eight writers to one branch of an Icechunk repository, while connections to S3 are cut.

On a converged rack (the one that `make demo` left, by default), as the researcher alice, in her notebook's Python. With
--here, without a rack: S3 from a folder, as in the unit tests; its figures tell whether the ledger is right, and
nothing of a gateway.

Leaves `build/bench/commits.json`, prints the table, and ends with 1 where a commit is lost, is there twice, or has
other values than were written. What is done and how it is judged: `tests/rack/commit_stress.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from summary import BENCH

TESTS = Path(__file__).resolve().parents[1]
for room in ("rack", "unit"):
    sys.path.insert(0, str(TESTS / room))

TARGET = BENCH / "commits.json"
PROGRAM = TESTS / "rack" / "commit_stress.py"
URL = "s3://alice/bench-commits"
SESSION_SECONDS = 4 * 3600
ROWS = {
    "writers": "writers, processes of their own",
    "asked_for": "commits asked for",
    "acknowledged": "acknowledged",
    "in_history": "of writers in the history",
    "lost": "acknowledged, and not in the history",
    "twice": "in the history more than once",
    "wrong_values": "with other values than were written",
    "linear": "history is one line",
    "attempts": "attempts",
    "conflicts": "told of a conflict, and tried again",
    "errors": "other errors, and tried again",
    "found": "found in the history after an error",
    "cut": "connections cut",
    "cut_moves": "of these while the branch was moved",
    "cut_answers": "of these after S3 had answered",
    "seconds": "seconds",
}


def on_a_rack(arguments: list[str], rack: str) -> dict[str, Any]:
    """Run the program in a notebook of alice's."""
    from researcher import Researcher

    from appliance.demo.facility import Facility

    with Researcher(Facility(rack), "alice", SESSION_SECONDS) as researcher, researcher.notebook() as notebook:
        return notebook.run(f"""
            import json, subprocess, sys
            from pathlib import Path
            program = Path.home() / "commit_stress.py"
            program.write_text({PROGRAM.read_text()!r})
            try:
                ended = subprocess.run([sys.executable, program, *{arguments!r}], capture_output=True, text=True)
            finally:
                program.unlink()
            if ended.returncode:
                raise RuntimeError(ended.stderr[-3000:])
            say(**json.loads(ended.stdout))
        """)


def here(arguments: list[str]) -> dict[str, Any]:
    """Run the program on this machine, with what the unit tests use for S3."""
    from s3_endpoint import S3Endpoint

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "s3/alice").mkdir(parents=True)
        keys = folder / "credentials"
        keys.write_text("[default]\naws_access_key_id = bench\naws_secret_access_key = bench\n")
        served = stack.enter_context(S3Endpoint(folder / "s3"))
        access = {
            "AWS_ENDPOINT_URL": served.url("127.0.0.1"),
            "AWS_SHARED_CREDENTIALS_FILE": str(keys),
            "AWS_DEFAULT_REGION": "default",
        }
        command = [sys.executable, str(PROGRAM), *arguments]
        ended = subprocess.run(command, env=os.environ | access, stdout=subprocess.PIPE, text=True, check=True)
        said: dict[str, Any] = json.loads(ended.stdout)
        return said


def shown(made: dict[str, Any]) -> Table:
    """Return what was measured as a table for people."""
    table = Table(title="commits to one branch while connections are cut")
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, text in ROWS.items():
        table.add_row(text, str(made[name]))
    return table


def main() -> None:
    """Run it, show the figures, and say by the exit code whether they are right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", action="store_true", help="without a rack, on this machine alone")
    parser.add_argument("--rack", default="rack", help="the converged rack (default: rack)")
    parser.add_argument("--commits", type=int, default=1000, help="of all writers together (default: 1000)")
    parser.add_argument("--writers", type=int, default=8, help="processes (default: 8)")
    parser.add_argument("--seed", type=int, default=1, help="of what is cut (default: 1)")
    parser.add_argument("--cut", type=float, default=0.01, help="share of pieces that end a connection (default: 0.01)")
    options = parser.parse_args()
    arguments = [URL]
    for name in ("commits", "writers", "seed", "cut"):
        arguments += [f"--{name}", str(getattr(options, name))]
    made = here(arguments) if options.here else on_a_rack(arguments, options.rack)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps({**made, "here": options.here, "seed": options.seed, "cut_share": options.cut}) + "\n")
    Console(width=100).print(shown(made))
    sys.exit(not made["right"])


if __name__ == "__main__":
    main()
