"""A line of JSON in, a line of JSON out: questions to the cluster's monitors over one lasting connection.

This file is run, not imported: by the machine's own Python, since Ceph's bindings are compiled for that one alone and
the placement service runs in another. A lasting connection answers in under a millisecond; each start of the `ceph`
command costs a sixth of a second of processor time, which a service that asks every few seconds should not spend.
"""

from __future__ import annotations

import argparse
import json
import sys


def main() -> None:
    """Connect, say so with a first line ``{"ready": true}``, then answer each line until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--id", required=True)
    parser.add_argument("--conf", required=True)
    parser.add_argument("--keyring", required=True)
    parser.add_argument("--timeout", type=int, required=True, help="seconds for one question")
    options = parser.parse_args()
    try:
        import rados  # type: ignore[import-not-found,unused-ignore]  # only the machine's own Python has it
    except ImportError as error:
        sys.exit(f"{sys.executable} has no Ceph bindings ({error}): install python3-rados")
    settings = {"keyring": options.keyring, "client_mount_timeout": str(options.timeout), "log_to_file": "false"}
    try:
        cluster = rados.Rados(rados_id=options.id, conffile=options.conf, conf=settings)
        cluster.connect(timeout=options.timeout)
    except rados.Error as error:
        sys.exit(f"client.{options.id} cannot connect as {options.conf} and {options.keyring} say: {error}")
    _answer({"ready": True})
    for line in sys.stdin:
        question = json.loads(line)
        ask = cluster.mgr_command if question["to"] == "mgr" else cluster.mon_command
        try:
            code, out, status = ask(json.dumps(question["command"]), b"", timeout=options.timeout)
        except rados.Error as error:
            code, out, status = getattr(error, "errno", None) or 1, b"", str(error)
        _answer({"code": abs(code), "out": out.decode(), "status": status})


def _answer(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
