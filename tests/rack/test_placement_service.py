"""The placement services on the converged rack: any one of them can end unnoticed, and only users get answers."""

from __future__ import annotations

import http.client
import json
import shlex
import subprocess
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from machines import HEAD, MACHINES, RACK, STORES, ask, until
from placement_rack import BUCKET, HEAD_PYTHON, PORT, URL, keys, service_url
from researcher import Notebook, Researcher

from appliance.demo.facility import Facility
from appliance.placement.auth.sigv4 import Keys
from appliance.placement.auth.tokens import Token
from appliance.rack.lifecycle import ssh_command

# Asks for the map ten times a second until its input ends, as a process that looks at a fast changing cluster would.
# Says a line for every ten.
ASK = f"""
import json, sys, threading, time
from appliance.placement import MapClient
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()

class Watched(MapClient):
    asked, failed = 0, []
    def _ask(self, held, bucket):
        Watched.asked += 1
        try:
            return super()._ask(held, bucket)
        except Exception as error:
            Watched.failed.append(str(error))
            raise

maps = Watched({URL!r}, timeout=1.0, max_age=0.0, retry_after=0.0)
while not ended.wait(0.1):
    try:
        maps.get({BUCKET!r})
    except Exception:
        pass
    if Watched.asked % 10 == 0:
        print(json.dumps(Watched.failed), flush=True)
"""


def systemctl(host: str, verb: str) -> None:
    ask(host, f"systemctl {verb} appliance-placement")


def is_healthy(host: str) -> bool:
    """Whether a machine's service has a map."""
    try:
        return answer(service_url(host), "/healthz")[0] == 200
    except OSError:
        return False


def answer(url: str, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Ask from the control host, which is on the storage network and knows nobody's keys by itself."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        connection.request(method, path, headers=headers)
        found = connection.getresponse()
        return found.status, dict(found.getheaders()), found.read()
    finally:
        connection.close()


def token(of: Keys | None = None) -> str:
    return Token.of(of or keys(), datetime.now(UTC)).header()


class Asking:
    """Somebody on each machine who asks for the map all the time."""

    def __init__(self) -> None:
        environment = f"AWS_SHARED_CREDENTIALS_FILE=/etc/appliance/s3/{BUCKET}"
        command = f"{environment} {HEAD_PYTHON} -c {shlex.quote(ASK)}"
        self._running = {
            host: subprocess.Popen(
                [*ssh_command(RACK, host), command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for host in MACHINES
        }

    def failures(self, tens: int) -> dict[str, list[str]]:
        """What has gone wrong so far, by machine, once each has asked ten times ``tens`` more."""
        failed: dict[str, list[str]] = {}
        for _ in range(tens):
            for host, process in self._running.items():
                assert process.stdout
                failed[host] = json.loads(process.stdout.readline())
        return failed

    def end(self) -> None:
        for process in self._running.values():
            process.communicate()


@pytest.fixture
def asking() -> Iterator[Asking]:
    """Somebody on every machine who has begun to ask."""
    made = Asking()
    made.failures(1)
    yield made
    made.end()


@pytest.mark.parametrize("verb", ["stop", "kill --signal=KILL"])
@pytest.mark.parametrize("host", STORES)
def test_the_end_of_any_one_is_not_noticed(host: str, verb: str, asking: Asking) -> None:
    try:
        systemctl(host, verb)
        asking.failures(5)  # the others answer, and the balancers have noticed
    finally:
        systemctl(host, "start")
    until(lambda: is_healthy(host))
    assert asking.failures(5) == {host: [] for host in MACHINES}


def test_a_machine_that_falls_silent_is_passed_over(asking: Asking) -> None:
    """As after a power cut: nothing says that nobody is there. What the head sends to a machine goes nowhere."""
    address = RACK.machine(STORES[0]).address
    device = f"dev $(ip -oneline route get {address} | sed 's/.* dev \\([^ ]*\\).*/\\1/')"
    ask(HEAD, f"ip neigh replace {address} lladdr 02:00:00:00:00:99 {device} nud permanent")
    try:
        asking.failures(5)
    finally:
        ask(HEAD, f"ip neigh del {address} {device}")
    assert asking.failures(5)[HEAD] == []


def test_all_give_the_same_map_by_the_same_name() -> None:
    """So that a client whose balancer has changed its mind is told 304."""

    def tags() -> set[str]:
        return {answer(service_url(host), "/v1/map", Authorization=token())[1]["Etag"] for host in STORES}

    # A bucket that another test has just made is in some of the maps for a moment.
    (tag,) = until(lambda: found if len(found := tags()) == 1 else None, tags)
    for host in STORES:
        assert answer(service_url(host), "/v1/map", Authorization=token(), **{"If-None-Match": tag})[::2] == (304, b"")


@pytest.mark.parametrize("host", STORES)
def test_without_keys_or_with_wrong_ones_there_is_no_answer(host: str) -> None:
    url = service_url(host)
    wrong = Keys(keys().access, "guessed")
    for path, method in (("/v1/map", "GET"), (f"/v1/map?bucket={BUCKET}", "GET"), ("/v1/layouts", "POST")):
        status, _, body = answer(url, path, method)
        assert (status, "only users of the facility" in body.decode()) == (401, True)
        status, _, body = answer(url, path, method, Authorization=token(wrong))
        assert (status, "SignatureDoesNotMatch" in body.decode()) == (401, True)
        status, _, body = answer(url, path, method, Authorization=token(Keys("AKNOBODY", "x")))
        assert (status, "InvalidAccessKeyId" in body.decode()) == (401, True)
    assert answer(url, "/v1/map", Authorization=token())[0] == 200
    assert answer(url, "/healthz")[0] == 200
    assert answer(url, "/metrics")[0] == 200


def test_a_token_is_of_this_time() -> None:
    """Neither this service nor the gateway takes an old one."""
    for seconds in (-1000, 1000):
        moment = datetime.fromtimestamp(time.time() + seconds, UTC)
        status, _, body = answer(service_url(), "/v1/map", Authorization=Token.of(keys(), moment).header())
        assert (status, "make a new one" in body.decode()) == (401, True)


@pytest.mark.parametrize("host", MACHINES)
def test_the_address_of_every_machine_asks_for_keys_too(host: str) -> None:
    curl = f"curl -s -o /dev/null -w '%{{http_code}}' {URL}"
    assert ask(host, f"{curl}/v1/map") == "401"
    assert ask(host, f"{curl}/v1/map -H @-", given=f"Authorization: {token()}") == "200"
    assert ask(host, f"{curl}/healthz") == "200"


def test_a_user_made_just_now_gets_answers_and_a_suspended_one_none() -> None:
    user = f"pl{uuid.uuid4().hex[:8]}"
    made = json.loads(ask("store1", f"radosgw-admin user create --uid {user} --display-name {user}"))["keys"][0]
    own = Keys(made["access_key"], made["secret_key"])
    try:
        assert answer(service_url(), "/v1/map", Authorization=token(own))[0] == 200
        ask("store1", f"radosgw-admin user suspend --uid {user}")
        # Of another machine, which has not seen this token yet and remembers no verdict.
        status, _, body = answer(service_url("store2"), "/v1/map", Authorization=token(own))
        assert status == 401, body
    finally:
        ask("store1", f"radosgw-admin user rm --uid {user}")


def test_the_head_asks_and_has_nothing_of_the_service() -> None:
    left = (
        "/etc/ceph/ceph.client.placement.keyring /etc/ceph/ceph.client.layouts.keyring /etc/appliance/placement.s3 "
        "/etc/systemd/system/appliance-placement.service /etc/systemd/system/appliance-layouts.socket"
    )
    assert ask(HEAD, f"ls -d {left} 2>/dev/null; true") == ""
    assert f":{PORT} " not in ask(HEAD, "ss -ltnH")


def test_no_journal_holds_a_token() -> None:
    for host in MACHINES:
        assert (
            ask(host, "journalctl -b -o cat -u appliance-placement -u haproxy | grep -c 'Appliance-S3 ' || true")
            == "0\n"
        )


@pytest.fixture(scope="module")
def notebook(facility: Facility) -> Iterator[Notebook]:
    """Alice's notebook with data."""
    with Researcher(facility, BUCKET) as researcher, researcher.notebook() as notebook:
        notebook.run(f"""
            import numpy as np, xarray as xr, fsspec, appliance.compute
            from dask_gateway import Gateway
            values = np.random.default_rng(5).normal(280.0, 5.0, size=(96, 64, 64))
            xr.Dataset({{"t": (("time", "y", "x"), values)}}).to_zarr(
                "s3://{BUCKET}/service-test.zarr", mode="w", encoding={{"t": {{"chunks": (2, 64, 64)}}}}
            )
        """)
        yield notebook
        notebook.run(f"""fsspec.filesystem("s3").rm("{BUCKET}/service-test.zarr", recursive=True)""")


@pytest.mark.parametrize("host", STORES)
def test_an_analysis_that_starts_without_any_one_reads_locally(host: str, notebook: Notebook) -> None:
    """Scheduler and workers are new, so that they have no map from before."""
    systemctl(host, "stop")
    try:
        said = notebook.run(f"""
            cluster = Gateway().new_cluster(worker_memory=1.0)
            try:
                cluster.scale(3)
                client = cluster.get_client()
                client.wait_for_workers(3, timeout=120)
                result = xr.open_zarr("s3://{BUCKET}/service-test.zarr").t.mean().compute()
                report = appliance.compute.report()
            finally:
                cluster.shutdown()
            say(off=abs(float(result) - float(values.mean())), why=report.why_remote, text=str(report))
        """)
    finally:
        systemctl(host, "start")
        until(lambda: is_healthy(host))
    assert said["off"] < 1e-9
    # A worker that is free may help a slow machine; whatever else is remote was not placed by a map.
    assert said["why"].keys() <= {"help"}, said["text"]
