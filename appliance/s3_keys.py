"""End the S3 keys whose time has come: ``python -m appliance.s3_keys FILE``, on a machine that holds the admin key.

The file is the one that the Ansible module `ceph_s3_users` notes them in: a list of ``user``, ``access_key`` and
``ends``, in seconds of Unix. A key is ended only where its user has another one that does not end, so that nobody is
locked out by a run that died before it made one.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

NO_USER = "no user info saved"  # radosgw-admin's words where there is no such user
Admin = Callable[[Sequence[str]], dict[str, Any]]


class AdminError(RuntimeError):
    """`radosgw-admin` refused; the message has its words."""


def radosgw_admin(words: Sequence[str]) -> dict[str, Any]:
    """Run `radosgw-admin` and return what it answers; raises `AdminError`."""
    done = subprocess.run(["radosgw-admin", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AdminError(f"`radosgw-admin {' '.join(words[:2])}` ended with {done.returncode}: {done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
    return answer


def end(file: Path, now: float, admin: Admin = radosgw_admin) -> tuple[list[str], list[str]]:
    """End what is due; return a line for each key that was, and one for each of which the cluster would not say.

    One that cannot be ended keeps no other from ending.
    """
    said: list[str] = []
    faults: list[str] = []
    if not file.exists():
        return said, faults
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for entry in [entry for entry in json.loads(file.read_text()) if entry["ends"] <= now]:
            noted = json.loads(file.read_text())
            user, key = entry["user"], entry["access_key"]
            try:
                shown = admin(["user", "info", f"--uid={user}"])
                own = {one["access_key"] for one in shown.get("keys", []) if one["user"] == user}
                if key in own and not own - {one["access_key"] for one in noted}:
                    said.append(
                        f"{user} keeps the key {key}: there is no newer one. playbooks/researchers.yml makes it"
                    )
                    continue
                if key in own:
                    admin(["key", "rm", f"--uid={user}", f"--access-key={key}", "--key-type=s3"])
            except AdminError as error:
                if NO_USER not in str(error):
                    faults.append(f"the key {key} of {user}: {error}")
                    continue
            _write(file, [one for one in noted if one["access_key"] != key])
            said.append(f"the key {key} of {user} has ended")
    return said, faults


def _write(file: Path, entries: list[dict[str, Any]]) -> None:
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(entries, indent=1))
    new.replace(file)


def main() -> int:
    """End what is due now, and say so in the journal."""
    parser = argparse.ArgumentParser(description="End the S3 keys whose time has come.")
    parser.add_argument("file", type=Path, help="which keys end when")
    said, faults = end(parser.parse_args().file, time.time())
    for line in said:
        print(line)
    for line in faults:
        print(line, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
