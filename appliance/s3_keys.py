"""End the S3 keys whose time has come: ``python -m appliance.s3_keys``, on a machine that holds the admin key.

Which keys end when stands in the cluster's config-key store, as plugins/module_utils/s3_old_keys.py says. A key is
ended only where its user has another one that does not end, so that nobody is locked out by a run that died before it
made one; and an entry that says no time yet waits until all machines have that other one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

PLACE = "appliance/s3-keys-ending/"
NO_USER = "no user info saved"  # radosgw-admin's words where there is no such user
Command = Callable[[Sequence[str]], dict[str, Any]]


class CommandError(RuntimeError):
    """The cluster refused a command; the message has its words."""


def run(words: Sequence[str]) -> dict[str, Any]:
    """Run a command of Ceph's and return what it answers; raises `CommandError`."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(f"`{' '.join(words[:3])}` ended with {done.returncode}: {done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
    return answer


def end(now: float, ask: Command = run) -> tuple[list[str], list[str]]:
    """End what is due; return a line for each key that was, and one for each of which the cluster would not say.

    One that cannot be ended keeps no other from ending. Raises `CommandError` where the cluster does not tell what is
    due.
    """
    said: list[str] = []
    faults: list[str] = []
    store = ask(["ceph", "config-key", "dump", PLACE, "--format=json"])
    entries = {name.removeprefix(PLACE): json.loads(entry) for name, entry in store.items()}
    for key, entry in entries.items():
        if entry.get("ends", now + 1) > now:
            continue
        user = entry["user"]
        try:
            shown = ask(["radosgw-admin", "user", "info", f"--uid={user}"])
            own = {one["access_key"] for one in shown.get("keys", []) if one["user"] == user}
            if key in own and not own - set(entries):
                said.append(f"{user} keeps the key {key}: there is no newer one. playbooks/researchers.yml makes it")
                continue
            if key in own:
                ask(["radosgw-admin", "key", "rm", f"--uid={user}", f"--access-key={key}", "--key-type=s3"])
        except CommandError as error:
            if NO_USER not in str(error):
                faults.append(f"the key {key} of {user}: {error}")
                continue
        ask(["ceph", "config-key", "rm", PLACE + key])
        said.append(f"the key {key} of {user} has ended")
    return said, faults


def main() -> int:
    """End what is due now, and say so in the journal."""
    argparse.ArgumentParser(description="End the S3 keys whose time has come.").parse_args()
    try:
        said, faults = end(time.time())
    except CommandError as error:
        said, faults = [], [str(error)]
    for line in said:
        print(line)
    for line in faults:
        print(line, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
