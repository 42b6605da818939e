"""Researchers' clusters on a converged rack: whose they are, what they cannot do, where they read, what they bear."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from typing import Any

import pytest
from machines import RACK, STORES, ask, until
from researcher import CellError, Notebook, Researcher, prepared_notebook
from sandbox import ATTEMPTS, NEEDS, lacking

from appliance.demo.facility import Facility
from appliance.launching.protocol import StartScheduler, Stop

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
def alice(facility: Facility) -> Iterator[Notebook]:
    """Alice's notebook, with a cluster of three workers and data in her bucket."""
    with prepared_notebook(facility, "alice", CLUSTER, "cluster.shutdown()") as notebook:
        yield notebook


@pytest.fixture(scope="module")
def bob(facility: Facility) -> Iterator[Notebook]:
    """Bob's notebook, with a cluster of his own."""
    with prepared_notebook(facility, "bob", CLUSTER, "cluster.shutdown()") as notebook:
        yield notebook


@pytest.fixture(scope="module")
def mean(alice: Notebook) -> float:
    """The mean of alice's data by numpy."""
    found: float = alice.run(DATA)["mean"]
    return found


def units(user: str, cluster: str) -> dict[tuple[str, str], dict[str, str]]:
    """The properties of a cluster's running units on all storage hosts, by host and name."""
    wanted = "Id,User,Slice,MemoryMax,CPUQuotaPerSecUSec,MainPID,NoNewPrivileges"
    found = {}
    for host in STORES:
        said = ask(host, f"systemctl show --state=active -p {wanted} 'dask-{user}-{cluster}-*'")
        for block in said.strip().split("\n\n") if said.strip() else []:
            shown = dict(line.split("=", 1) for line in block.splitlines())
            found[host, shown["Id"]] = shown
    return found


def name_of(notebook: Notebook) -> str:
    name: str = notebook.run("say(name=cluster.name)")["name"]
    return name


def test_units_are_the_users_in_the_compute_slice_and_limited(alice: Notebook, bob: Notebook) -> None:
    for user, notebook in (("alice", alice), ("bob", bob)):
        found = units(user, name_of(notebook))
        assert sum("-worker-" in unit for _, unit in found) == 3
        assert {host for host, unit in found if "-worker-" in unit} == set(STORES)
        for (_, unit), shown in found.items():
            assert shown["User"] == user
            assert shown["Slice"] == f"compute-{ask(STORES[0], f'id -u {user}').strip()}.slice"
            assert int(shown["MemoryMax"]) == (GIB if "-worker-" in unit else 2 * GIB)
            assert shown["CPUQuotaPerSecUSec"] == "1s"
            assert shown["NoNewPrivileges"] == "yes"


def test_schedulers_and_workers_have_all_of_the_common_sandbox(facility: Facility, alice: Notebook) -> None:
    found = units("alice", name_of(alice))
    assert {"-worker-" in unit for _, unit in found} == {True, False}
    assert {unit: lacking(facility, host, unit) for host, unit in found} == {unit: [] for _, unit in found}


def test_the_kernel_refuses_what_no_analysis_needs(alice: Notebook) -> None:
    refused = {"EPERM"}
    said = alice.run(f"""
        def attempts():
            given = {{}}
            exec({ATTEMPTS!r}, given)
            return given["attempts"]
        say(notebook=attempts(), workers=list(client.run(attempts).values()))
    """)
    for attempts in (said["notebook"], *said["workers"]):
        assert {name for name, answer in attempts.items() if answer not in refused} <= {"packets"}, attempts
        assert attempts["packets"] == "EAFNOSUPPORT"


def test_a_workers_sandbox_leaves_an_analysis_what_it_needs(alice: Notebook) -> None:
    # In a process of its own: a worker has threads, and a fork of it may wait for ever for a lock of theirs.
    said = alice.run(f"""
        import subprocess, sys
        def needs():
            done = subprocess.run([sys.executable, "-c", {NEEDS!r}], capture_output=True, text=True)
            return done.stdout.strip() or done.stderr[-2000:]
        say(notebook=needs(), workers=list(client.run(needs).values()))
    """)
    assert [said["notebook"], *said["workers"]] == ["499500.0 [1, 2] 300.0"] * 4


@pytest.mark.usefixtures("alice")
def test_no_secret_is_on_a_command_line_or_in_an_environment() -> None:
    secret = ask("store1", "sed -n 's/.*secret_access_key *= *//p' /etc/appliance/s3/alice").strip()
    for host in STORES:
        # In the journal and the shown units of all, and in the processes' own memory of how they were started.
        seen = ask(host, "systemctl show 'dask-*'; journalctl -b -o cat; ls /run/appliance-launcher")
        seen += ask(host, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'")
        assert secret not in seen
        assert "PRIVATE KEY" not in seen


def test_one_researcher_cannot_reach_anothers_things(alice: Notebook, bob: Notebook) -> None:
    of_bob = units("bob", name_of(bob))
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
                                                 if "//{RACK.machine(host).address}:" in w]).values()
        say(**found)
    """)
    assert said.pop("own keys") == "done"
    assert said.pop("own bucket") == "done"
    hidden = dict.fromkeys(("process", "credentials", "token"), "FileNotFoundError")
    assert said == dict.fromkeys(said, "PermissionError") | hidden | {"system": "OSError"}  # read-only
    with pytest.raises(CellError, match="403, message='Forbidden'"):
        alice.run(f"gateway.connect({name_of(bob)!r})")


def ask_launcher(host: str, request: Any) -> dict[str, Any]:
    """What the gateway's own account gets from a host's launcher."""
    ssh = "ssh -F none -T -l root -i /var/lib/dask-gateway/.ssh/id_ed25519 -o BatchMode=yes -o IdentitiesOnly=yes"
    ssh += f" -o UserKnownHostsFile=/etc/dask-gateway/known_hosts {RACK.machine(host).address} cat /etc/shadow"
    said = ask("head1", f"printf %s {shlex.quote(json.dumps(request))} | runuser -u dask-gateway -- {ssh} || true")
    answer: dict[str, Any] = json.loads(said)
    return answer


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"user": "no-such-user"}, "does not exist"),
        ({"user": "root"}, "uid 0"),
        ({"user": "ceph"}, "researchers have uids"),
        ({"unit": "sshd.service"}, "'unit': there is no such field"),
        ({"memory": 1024 * GIB}, "over the limit"),
        ({"cores": 512}, "over the limit"),
        ({"environment": "/usr"}, "is not offered"),
    ],
)
def test_the_launcher_refuses_and_logs(change: dict[str, Any], says: str) -> None:
    request = StartScheduler(
        user="alice",
        cluster="c" * 32,
        environment=ask("store1", "readlink -f /opt/appliance/analysis").strip(),
        memory=GIB,
        cores=1,
        heartbeat_period=5,
        adaptive_period=3,
        idle_timeout=0,
        token="canary-token",
        tls_cert="canary-cert",
        tls_key="canary-key",
    )
    check_refused({**json.loads(request.to_json()), **change}, says)


def test_the_launcher_stops_nothing_of_an_operators() -> None:
    request = Stop(user="root", cluster="c" * 32, worker="")
    check_refused(json.loads(request.to_json()), "uid 0")


def check_refused(request: dict[str, Any], says: str) -> None:
    """Ask a launcher for what it must refuse, and see that its journal says so without a secret."""
    answer = ask_launcher("store1", request)
    assert answer["type"] == "Refused"
    assert says in answer["reason"]
    journal = ask("store1", "journalctl -t appliance-launcher -n 3 -o cat")
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


def test_a_killed_worker_changes_no_result_and_is_replaced_on_its_host(alice: Notebook, mean: float) -> None:
    name = name_of(alice)
    lost = next(unit for host, unit in units("alice", name) if host == "store2" and "-worker-" in unit)
    alice.submit(SLOW_MEAN)
    time.sleep(3)
    ask("store2", f"systemctl kill --signal=KILL {lost}")
    assert alice.result()["result"] == pytest.approx(mean, abs=1e-9)
    alice.run("client.wait_for_workers(3, timeout=60)")
    found = units("alice", name)
    assert sorted(host for host, unit in found if "-worker-" in unit) == list(STORES)
    assert lost not in {unit for _, unit in found}


@pytest.mark.long
def test_a_stopped_gateway_of_one_host_changes_no_result(alice: Notebook, mean: float) -> None:
    ask("store3", "systemctl stop ceph-radosgw@rgw.store3")
    try:
        said = alice.run(SLOW_MEAN)
        report = alice.run("say(**appliance.compute.report().why_remote)")
    finally:
        ask("store3", "systemctl start ceph-radosgw@rgw.store3")
    assert said["result"] == pytest.approx(mean, abs=1e-9)
    assert report.get("fallback", 0) > 0


def test_a_gateway_that_restarts_finds_its_clusters_again(alice: Notebook) -> None:
    ask("head1", "systemctl restart dask-gateway")

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
    until(lambda: not units("bob", said["name"]))
    for host in STORES:
        assert ask(host, f"find /tmp -maxdepth 1 -name 'systemd-private-*{said['name']}*'") == ""
