"""Researchers' clusters on a converged rack: whose they are, what they cannot do, where they read, what they bear."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from researcher import CellError, Notebook, Researcher

from appliance.compute.units import unit_name
from appliance.demo.facility import Facility, FacilityError

STORES = ("store1", "store2", "store3")
GIB = 2**30
CLUSTER = """
import numpy as np, xarray as xr
from dask_gateway import Gateway
import appliance.compute
gateway = Gateway()
cluster = gateway.new_cluster(worker_memory=1.0)
cluster.scale(3)
client = cluster.get_client()
client.wait_for_workers(3, timeout=120)
say(name=cluster.name, hosts=sorted(w["host"] for w in client.scheduler_info(n_workers=-1)["workers"].values()))
"""
# 96 objects of half a MiB. Data read soon after it was written may come from the primary only: it is written twice,
# so that every placement group sees a write after the one that counts.
DATA = """
rng = np.random.default_rng(7)
values = rng.normal(280.0, 5.0, size=(96 * 8, 64, 128)).astype("f8")
for name in ("compute-test.zarr", "compute-test-after.zarr"):
    xr.Dataset({"t": (("time", "y", "x"), values)}).to_zarr(
        f"s3://alice/{name}", mode="w", encoding={"t": {"chunks": (8, 64, 128), "compressors": None}}
    )
say(mean=float(values.mean()))
"""


@pytest.fixture(scope="module")
def facility() -> Facility:
    return Facility(os.environ.get("APPLIANCE_RACK", "rack"))


@pytest.fixture(scope="module")
def alice(facility: Facility) -> Iterator[Notebook]:
    """Alice's notebook, with a cluster of three workers and data in her bucket."""
    with Researcher(facility, "alice") as alice, alice.notebook() as notebook:
        try:
            notebook.run(CLUSTER)
            yield notebook
        finally:
            notebook.run("cluster.shutdown()")


@pytest.fixture(scope="module")
def bob(facility: Facility) -> Iterator[Notebook]:
    """Bob's notebook, with a cluster of his own."""
    with Researcher(facility, "bob") as bob, bob.notebook() as notebook:
        try:
            notebook.run(CLUSTER)
            yield notebook
        finally:
            notebook.run("cluster.shutdown()")


@pytest.fixture(scope="module")
def mean(alice: Notebook) -> float:
    """The mean of alice's data by numpy."""
    found: float = alice.run(DATA)["mean"]
    return found


def units(facility: Facility, user: str, cluster: str) -> dict[tuple[str, str], dict[str, str]]:
    """The properties of a cluster's running units on all storage hosts, by host and name."""
    wanted = "Id,User,Slice,MemoryMax,CPUQuotaPerSecUSec,MainPID,NoNewPrivileges"
    found = {}
    for host in STORES:
        said = on(facility, host, f"systemctl show --state=active -p {wanted} 'dask-{user}-{cluster}-*'")
        for block in said.strip().split("\n\n") if said.strip() else []:
            shown = dict(line.split("=", 1) for line in block.splitlines())
            found[host, shown["Id"]] = shown
    return found


def name_of(notebook: Notebook) -> str:
    name: str = notebook.run("say(name=cluster.name)")["name"]
    return name


def on(facility: Facility, host: str, script: str) -> str:
    return facility.run(host, "/bin/bash", "-c", script).decode()


def until(ready: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "did not come about"
        time.sleep(0.5)


def test_units_are_the_users_in_the_compute_slice_and_limited(
    facility: Facility, alice: Notebook, bob: Notebook
) -> None:
    for user, notebook in (("alice", alice), ("bob", bob)):
        found = units(facility, user, name_of(notebook))
        assert sum("-worker-" in unit for _, unit in found) == 3
        assert {host for host, unit in found if "-worker-" in unit} == set(STORES)
        for (_, unit), shown in found.items():
            assert shown["User"] == user
            assert shown["Slice"] == "compute.slice"
            assert int(shown["MemoryMax"]) == (GIB if "-worker-" in unit else 2 * GIB)
            assert shown["CPUQuotaPerSecUSec"] == "1s"
            assert shown["NoNewPrivileges"] == "yes"


@pytest.mark.usefixtures("alice")
def test_no_secret_is_on_a_command_line_or_in_an_environment(facility: Facility) -> None:
    secret = on(facility, "store1", "sed -n 's/.*secret_access_key *= *//p' /etc/appliance/s3/alice").strip()
    for host in STORES:
        # In the journal and the shown units of all, and in the processes' own memory of how they were started.
        seen = on(facility, host, "systemctl show 'dask-*'; journalctl -b -o cat; ls /run/appliance-launcher")
        seen += on(facility, host, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'")
        assert secret not in seen
        assert "PRIVATE KEY" not in seen


def test_one_researcher_cannot_reach_anothers_things(facility: Facility, alice: Notebook, bob: Notebook) -> None:
    of_bob = units(facility, "bob", name_of(bob))
    host, worker = next((host, unit) for host, unit in of_bob if "-worker-" in unit)
    pid = of_bob[host, worker]["MainPID"]
    said = alice.run(f"""
        def attempts():
            import os, socket, ssl
            import fsspec
            found = {{}}
            def attempt(name, do):
                try:
                    do()
                    found[name] = "done"
                except BaseException as error:
                    found[name] = type(error).__name__
            attempt("own keys", lambda: open(os.environ["AWS_SHARED_CREDENTIALS_FILE"]).read())
            attempt("own bucket", lambda: fsspec.filesystem("s3").pipe("alice/touched", b"x"))
            attempt("keys on disk", lambda: open("/etc/appliance/s3/bob").read())
            attempt("credentials", lambda: open("/run/credentials/{worker}/s3").read())
            attempt("token", lambda: open("/run/credentials/{worker}/token").read())
            attempt("home", lambda: os.listdir("/home/bob"))
            attempt("process", lambda: open("/proc/{pid}/environ").read())
            attempt("signal", lambda: os.kill({pid}, 0))
            attempt("bucket", lambda: fsspec.filesystem("s3", skip_instance_cache=True).ls("bob"))
            attempt("write", lambda: fsspec.filesystem("s3", skip_instance_cache=True).pipe("bob/mine", b"x"))
            attempt("system", lambda: open("/etc/motd.mine", "w").write("x"))
            attempt("root's key", lambda: os.listdir("/root/.ssh"))
            return found
        (found,) = client.run(attempts, workers=[w for w in client.scheduler_info(n_workers=-1)["workers"]
                                                 if "//{address_of(facility, host)}:" in w]).values()
        say(**found)
    """)
    assert said.pop("own keys") == "done"
    assert said.pop("own bucket") == "done"
    assert "done" not in said.values(), said
    # Bob's cluster does not exist for Alice.
    with pytest.raises(CellError):
        alice.run(f"gateway.connect({name_of(bob)!r})")


def ask_launcher(facility: Facility, host: str, request: Any) -> dict[str, Any]:
    """What the gateway's own account gets from a host's launcher."""
    ssh = "ssh -F none -T -l root -i /var/lib/dask-gateway/.ssh/id_ed25519 -o BatchMode=yes -o IdentitiesOnly=yes"
    ssh += f" -o UserKnownHostsFile=/etc/dask-gateway/known_hosts {address_of(facility, host)} cat /etc/shadow"
    said = on(
        facility, "head1", f"printf %s {shlex.quote(json.dumps(request))} | runuser -u dask-gateway -- {ssh} || true"
    )
    answer: dict[str, Any] = json.loads(said)
    return answer


def address_of(facility: Facility, host: str) -> str:
    found: str = facility.rack.machine(host).address
    return found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"user": "no-such-user"}, "does not exist"),
        ({"user": "root"}, "uid 0"),
        ({"user": "ceph"}, "researchers have uids"),
        ({"unit": unit_name("bob", "c" * 32, "scheduler")}, "no scheduler or worker of 'alice'"),
        ({"memory": 1024 * GIB}, "over the limit"),
        ({"cores": 512}, "over the limit"),
        ({"environment": "/usr"}, "is not offered"),
        ({"verb": "stop", "units": ["sshd.service"]}, "no scheduler or worker of 'alice'"),
    ],
)
def test_the_launcher_refuses_and_logs(facility: Facility, change: dict[str, Any], says: str) -> None:
    environment = on(facility, "store1", "readlink -f /opt/appliance/analysis").strip()
    request = {
        "verb": "start",
        "user": "alice",
        "role": "scheduler",
        "cluster": "c" * 32,
        "unit": unit_name("alice", "c" * 32, "scheduler"),
        "memory": GIB,
        "cores": 1,
        "threads": 1,
        "heartbeat_period": 5,
        "adaptive_period": 3,
        "idle_timeout": 0,
        "environment": environment,
        "token": "canary-token",
        "tls_cert": "canary-cert",
        "tls_key": "canary-key",
    }
    answer = ask_launcher(facility, "store1", {**request, **change})
    assert says in answer["refused"]
    journal = on(facility, "store1", "journalctl -t appliance-launcher -n 3 -o cat")
    assert says in journal
    assert "canary" not in journal


def test_an_environment_of_anothers_is_refused_by_name(alice: Notebook) -> None:
    with pytest.raises(CellError, match=r"/nix/store/another is not one of this facility's"):
        alice.run('gateway.submit(environment="/nix/store/another")')


def test_each_chunk_is_read_where_it_lies(alice: Notebook, mean: float) -> None:
    # A worker's first read imports for seconds, in which others would come to its help: so each reads a chunk before.
    said = alice.run("""
        client.run(lambda: float(xr.open_zarr("s3://alice/compute-test.zarr", chunks=None).t[:8, :64, :128].mean()))
        before = appliance.compute.report()
        result = xr.open_zarr("s3://alice/compute-test.zarr").t.mean().compute()
        report = appliance.compute.report() - before
        say(result=float(result), rows=[row.reads for row in report.rows], **{"share": report.local_share,
            "text": str(report), "reads": report.reads})
    """)
    assert said["result"] == pytest.approx(mean, abs=1e-9)
    assert said["reads"] == 96
    assert said["share"] >= 0.99, said["text"]
    # The plan is even (a unit test shows it); here a worker that runs dry takes over from one whose machine is slower
    # just then, so that how much each does is a matter of the moment. None is left out.
    assert len([reads for reads in said["rows"] if reads]) == 3, said["text"]


SLOW_MEAN = """
slow = xr.open_zarr("s3://alice/compute-test.zarr").t.data.map_blocks(
    lambda block: time.sleep(0.2) or block, dtype="f8"
)
say(result=float(slow.mean().compute()), share=appliance.compute.report().local_share)
"""


def test_a_killed_worker_changes_no_result_and_is_replaced_on_its_host(
    facility: Facility, alice: Notebook, mean: float
) -> None:
    name = name_of(alice)
    lost = next(unit for host, unit in units(facility, "alice", name) if host == "store2" and "-worker-" in unit)
    alice.submit(SLOW_MEAN)
    time.sleep(3)
    on(facility, "store2", f"systemctl kill --signal=KILL {lost}")
    assert alice.result()["result"] == pytest.approx(mean, abs=1e-9)
    alice.run("client.wait_for_workers(3, timeout=60)")
    found = units(facility, "alice", name)
    assert sorted(host for host, unit in found if "-worker-" in unit) == list(STORES)
    assert lost not in {unit for _, unit in found}


def test_a_stopped_gateway_of_one_host_changes_no_result(facility: Facility, alice: Notebook, mean: float) -> None:
    on(facility, "store3", "systemctl stop ceph-radosgw@rgw.store3")
    try:
        said = alice.run(SLOW_MEAN)
        report = alice.run("say(**appliance.compute.report().why_remote)")
    finally:
        on(facility, "store3", "systemctl start ceph-radosgw@rgw.store3")
    assert said["result"] == pytest.approx(mean, abs=1e-9)
    assert report.get("fallback", 0) > 0


def test_a_gateway_that_restarts_finds_its_clusters_again(facility: Facility, alice: Notebook) -> None:
    on(facility, "head1", "systemctl restart dask-gateway")

    def knows() -> bool:
        try:
            return bool(alice.run("say(there=cluster.name in [c.name for c in gateway.list_clusters()])")["there"])
        except CellError:
            return False

    until(knows)
    said = alice.run("""
        client = cluster.get_client()
        client.wait_for_workers(3, timeout=60)
        say(sum=client.submit(sum, [1, 2]).result(timeout=30))
    """)
    assert said["sum"] == 3


def test_an_ended_cluster_leaves_nothing(facility: Facility) -> None:
    with Researcher(facility, "bob") as bob, bob.notebook() as notebook:
        said = notebook.run("""
            from dask_gateway import Gateway
            gateway = Gateway()
            cluster = gateway.new_cluster()
            cluster.scale(1)
            cluster.get_client().wait_for_workers(1, timeout=60)
            name = cluster.name
            cluster.shutdown()
            say(name=name)
        """)
    until(lambda: not units(facility, "bob", said["name"]))
    for host in STORES:
        with pytest.raises(FacilityError):
            facility.run(host, "/bin/bash", "-c", f"ls -d /tmp/systemd-private-*{said['name']}*")
