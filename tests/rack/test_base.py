"""What every machine of a converged rack has: sources, names, slices that hold, and one environment for all."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from machines import MACHINES, RACK, ask, run_on

from appliance.depot.layout import Depot

ENVIRONMENTS = ("analysis", "services")
APPLIANCE = Path(sys.executable).with_name("appliance")


def depot_status() -> dict[str, Any]:
    answer = subprocess.run([APPLIANCE, "depot", "status", "--json"], capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(answer.stdout)
    return report


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_all_machines_run_from_one_store_path(environment: str) -> None:
    paths = {machine: ask(machine, f"readlink -f /opt/appliance/{environment}") for machine in MACHINES}

    assert len(set(paths.values())) == 1, paths
    assert paths["head1"].startswith("/nix/store/")


def test_what_everybody_runs_can_be_written_by_root_alone() -> None:
    found = ask(
        "store1", "find -L /opt/appliance/analysis/bin -maxdepth 1 ! -user root; find /nix/store -perm /022 ! -type l"
    )

    assert found == ""


def test_byte_code_is_there_and_used_though_the_store_forgets_times() -> None:
    # Every source that had to be compiled anew would cost each worker its start.
    compiled = "/opt/appliance/analysis/bin/python -B -v -c 'import xarray' 2>&1 | grep -c 'code object from .*[.]py$'"

    assert int(ask("store1", f"PYTHONPYCACHEPREFIX=/nowhere {compiled}")) > 100
    assert int(ask("store1", compiled, check=False)) == 0


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_contents_are_what_the_depot_signed(environment: str) -> None:
    public = Depot.default().public_key.read_text().strip()
    command = (
        "nix --extra-experimental-features nix-command store verify --recursive --sigs-needed 1 "
        f"--option build-users-group '' --option trusted-public-keys '{{key}}' /opt/appliance/{environment}"
    )

    assert run_on("store2", command.format(key=public)).returncode == 0
    other = "other-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
    stranger = run_on("store2", command.format(key=other))
    assert stranger.returncode != 0
    assert "untrusted" in stranger.stderr


def test_a_path_that_another_key_signed_is_not_copied() -> None:
    path = ask("store3", "readlink -f /opt/appliance/services").strip()
    gateway = RACK.gateway
    command = (
        "rm -rf /var/tmp/other-store; nix --extra-experimental-features nix-command copy --to /var/tmp/other-store "
        f"--from http://{gateway}:3142/nix --option build-users-group '' "
        f"--option trusted-public-keys other-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY= {path}; "
        "code=$?; ls -d /var/tmp/other-store/nix/store/*-appliance-*; rm -rf /var/tmp/other-store; exit $code"
    )

    refused = run_on("store3", command)

    assert refused.returncode != 0
    assert "signature" in refused.stderr
    assert "appliance" not in refused.stdout


def test_machines_know_each_other_by_name() -> None:
    for machine in MACHINES:
        lines = ask(machine, f"getent ahostsv4 {' '.join(MACHINES)}").splitlines()
        addresses = {line.split()[0] for line in lines}
        assert not any(address.startswith("127.") for address in addresses), machine
        assert len(addresses) == len(MACHINES)


def test_only_what_asks_for_forky_comes_from_it() -> None:
    policy = ask("head1", "apt-cache policy bash")

    candidate = next(line.split()[1] for line in policy.splitlines() if "Candidate:" in line)
    versions = [
        line.split()[0] for line in policy.splitlines() if line.startswith((" ***", "     ")) and " 100" in line
    ]
    assert candidate not in versions


def test_the_storage_slice_gets_its_share_of_a_busy_machine() -> None:
    # As many as there are processors in each slice, counted over the same four seconds.
    burn = (
        "import multiprocessing, os, sys, time\n"
        "def run(begin):\n"
        "    time.sleep(max(0, begin - time.time()))\n"
        "    used = time.process_time()\n"
        "    while time.time() < begin + 4: pass\n"
        "    return time.process_time() - used\n"
        "count = os.cpu_count()\n"
        "with multiprocessing.Pool(count) as pool: print(sum(pool.map(run, [float(sys.argv[1])] * count, 1)))"
    )
    unit = "systemd-run --quiet --wait --pipe --slice {name}.slice"
    start = unit + " /usr/bin/python3.13 -c {code} $begin > /run/burn-{name} &"
    both = "\n".join(start.format(name=name, code=shlex.quote(burn)) for name in ("storage", "compute"))

    said = ask(
        "store1", f"begin=$(($(date +%s) + 4))\n{both}\nwait; cat /run/burn-storage /run/burn-compute; rm /run/burn-*"
    )
    storage, compute = map(float, said.split())

    # 9 to 1 by weight; the daemons and tools of the machine itself blur it.
    assert storage > 4 * compute


def test_memory_beyond_a_slices_limit_ends_what_took_it() -> None:
    grab = "/usr/bin/python3.13 -c 'x = bytearray(200 << 20); print(len(x))'"
    inner = "compute-test.slice"
    command = (
        f"systemctl set-property --runtime {inner} MemoryMax=64M; "
        f"systemd-run --quiet --wait --pipe --slice {inner} {grab}; echo code $?; systemctl stop {inner}; "
        f"systemctl revert {inner}"
    )

    said = ask("store2", command, check=False)

    assert "code 0" not in said
    assert str(200 << 20) not in said


def test_the_slices_have_the_limits_of_the_inventory() -> None:
    for machine in MACHINES:
        shown = ask(machine, "systemctl show --value -p MemoryMax compute.slice notebooks.slice").split()
        assert shown == [str(4 << 30)] * 2, machine


def test_a_machine_installs_from_a_warm_depot_without_a_download() -> None:
    before = depot_status()["total"]

    for machine in MACHINES:
        ask(machine, "cd /var/tmp && apt-get -q download acl && rm acl_*.deb")

    after = depot_status()["total"]
    assert after["requests"] - before["requests"] >= len(MACHINES)
    assert after["bytes_fetched"] == before["bytes_fetched"]
