"""A launcher without systemd and without root, for the gateway's tests: processes in place of units.

Called like ssh, with the host's address as the last argument. It checks and puts commands together with the real
launcher's code; the processes' ids and secrets are files in a folder.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from appliance.compute import launcher


def main() -> int:
    folder, environment, address = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    if (folder / f"down-{address}").exists():
        print("connect: no route to host", file=sys.stderr)
        return 255
    request = json.load(sys.stdin)
    with (folder / "requests").open("a") as log:
        log.write(json.dumps({**request, "address": address}) + "\n")
    if request["verb"] == "start":
        _start(request, folder, environment, address)
        answer = {"ok": True}
    elif request["verb"] == "stop":
        for unit in request["units"]:
            with suppress(ProcessLookupError, FileNotFoundError):
                os.kill(int((folder / unit / "pid").read_text()), signal.SIGTERM)
        answer = {"ok": True}
    else:
        states = {unit: "active" if (folder / unit / "pid").exists() else "inactive" for unit in request["units"]}
        answer = {"ok": True, "states": states}
    print(json.dumps(answer))
    return 0


def _start(request: dict[str, object], folder: Path, environment: str, address: str) -> None:
    config = {
        "host": f"host{address.rsplit('.', 1)[1]}",
        "address": address,
        "slice": "compute.slice",
        "environment": {},
        "credentials": str(folder),
        "api_url": (folder / "api-url").read_text(),
    }
    unit = folder / str(request["unit"])
    unit.mkdir()
    for name in launcher.SECRETS:
        (unit / name).write_text(str(request[name]))
    account = pwd.getpwuid(os.getuid())
    given = dict(
        item.removeprefix("Environment=").split("=", 1)
        for item in launcher.properties(request, account, config)
        if item.startswith("Environment=")
    )
    given = {name: value.replace(f"/run/credentials/{request['unit']}", str(unit)) for name, value in given.items()}
    command = [part.replace("/var/tmp", str(unit)) for part in launcher.command(request, config)]
    assert command[0] == f"{environment}/bin/python"
    with (unit / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **given},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (unit / "pid").write_text(str(process.pid))


if __name__ == "__main__":
    sys.exit(main())
