"""A launcher without systemd and without root, for the gateway's tests: processes in place of units.

Called like ssh, with the host's address as the last argument. It checks and puts commands together with the real
launcher's code; the processes' ids and secrets are files in a folder.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from launching_examples import launcher_settings

from appliance.launching.free_ports import take
from appliance.launching.launcher_settings import LauncherSettings
from appliance.launching.protocol import Answer, Running, Start, Started, Stop, Stopped, parse_request
from appliance.launching.unit import command, ports_of, properties


def main() -> int:
    folder, environment, address = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    if (folder / f"down-{address}").exists():
        print("connect: no route to host", file=sys.stderr)
        return 255
    request = parse_request(sys.stdin.buffer.read())
    answer: Answer
    if isinstance(request, Start):
        with (folder / "starts").open("a") as log:
            log.write(f"{address} {request.unit}\n")
        _start(request, folder, environment, address)
        answer = Started(unit=request.unit)
    elif isinstance(request, Stop):
        with suppress(ProcessLookupError, FileNotFoundError):
            os.kill(int((folder / request.unit / "pid").read_text()), signal.SIGTERM)
        answer = Stopped(unit=request.unit)
    else:
        started = folder.glob(f"dask-{request.user}-{request.cluster}-*/pid")
        answer = Running(units=tuple(path.parent.name for path in started))
    print(answer.to_json())
    return 0


def _start(request: Start, folder: Path, environment: str, address: str) -> None:
    settings = LauncherSettings(
        **launcher_settings(
            folder,
            host=f"host{address.rsplit('.', 1)[1]}",
            address=address,
            gateway_api_url=(folder / "api-url").read_text(),
        )
    )
    unit = folder / request.unit
    unit.mkdir()
    for name in Start.SECRETS:
        (unit / name).write_text(getattr(request, name))
    wanted = properties(request, pwd.getpwuid(os.getuid()), settings, {})
    given = dict(line.split("=", 1) for line in wanted["Environment"])
    given = {name: value.replace(f"/run/credentials/{request.unit}", str(unit)) for name, value in given.items()}
    ports = take(ports_of(request), address, settings.port_min, settings.port_max, folder / "last-port")
    run = [part.replace("/var/tmp", str(unit)) for part in command(request, settings, ports)]
    assert run[0] == f"{environment}/bin/python"
    with (unit / "log").open("wb") as log:
        process = subprocess.Popen(
            run,
            env={**os.environ, **given},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (unit / "pid").write_text(str(process.pid))


if __name__ == "__main__":
    sys.exit(main())
