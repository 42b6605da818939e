"""A dashboard is its owner's: each way to it, asked by others, from everywhere, with whatever they have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from dashboard_scene import NO_ANSWER, Answer, Owner, fetch, fetches, owner, visit
from intruder import run
from machines import FACILITY, HEAD, MACHINES, RACK, STORES, ask

from appliance.researcher.environment import AUTHORITIES

HEAD_ADDRESS = RACK.machine(HEAD).address
HTTP_PORT, TLS_PORT = FACILITY.facts["gateway_http_port"], FACILITY.facts["gateway_scheduler_port"]
GATEWAY = "/services/dask-gateway"
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec_WebSocket_Protocol": "bokeh",
}


@pytest.fixture(scope="module")
def alice() -> Iterator[Owner]:
    with owner("alice") as made:
        yield made


@pytest.fixture(scope="module")
def bob() -> Iterator[Owner]:
    with owner("bob") as made:
        yield made


def is_dashboard(answer: Answer) -> bool:
    return answer.status == 200 and "Bokeh" in answer.body


# Its owner


def test_the_owner_gets_the_dashboard_by_the_link_that_dask_shows(alice: Owner) -> None:
    assert alice.link == alice.client_link == f"/user/alice/proxy/clusters/{alice.cluster}/status"
    assert is_dashboard(visit(alice.page(), alice.token))
    plots = visit(alice.page().replace("/status", "/individual-plots.json"), alice.token)
    assert json.loads(plots.body)["Individual Appliance Reads"] == "/individual-appliance-reads"


# The hub, and the gateway's port for HTTP


@pytest.mark.parametrize("who", ["a stranger", "bob", "alice"])
def test_the_hub_leads_to_no_dashboard_of_the_gateways(alice: Owner, bob: Owner, who: str) -> None:
    token = {"bob": bob.token, "alice": alice.token}.get(who, "")
    answer = visit(f"{GATEWAY}/clusters/{alice.cluster}/status", token)
    if answer.status == 302:  # the hub's own way of saying that it has no such page
        told = urlsplit(answer.location)
        assert told.netloc in ("", urlsplit(FACILITY.front.url).netloc)
        answer = visit(told.path, token)
    assert answer.status == 404
    assert "Bokeh" not in answer.body


@pytest.mark.parametrize("user", ["bob", "alice"])
@pytest.mark.parametrize("machine", MACHINES)
def test_the_gateways_port_leads_to_no_dashboard(alice: Owner, machine: str, user: str) -> None:
    paths = ["", "/", "/status", "/metrics", "/individual-plots.json", "/../../clusters/"]
    targets = [*(f"{GATEWAY}/clusters/{alice.cluster}{path}" for path in paths), f"{GATEWAY}/api/health"]
    port = {"host": HEAD_ADDRESS, "port": HTTP_PORT}
    answers = fetches(machine, user, *({**port, "path": target} for target in targets))
    assert [status for status, _ in answers] == [*[404] * len(paths), 200]


def test_the_gateway_gives_a_certificate_to_its_owner_alone(alice: Owner, bob: Owner) -> None:
    url = f"{FACILITY.facts['gateway_url']}{GATEWAY}/api/v1/clusters/{alice.cluster}"

    def told(token: str) -> tuple[str, bool]:
        """The status, and whether a key was in the answer; asked on the head, since others cannot."""
        curl = f"curl --silent --noproxy '*' --cacert {AUTHORITIES} --write-out '\\n%{{http_code}}' --header @- {url}"
        body, _, status = ask(HEAD, curl, given=f"Authorization: jupyterhub {token}" if token else "").rpartition("\n")
        return status, "PRIVATE KEY" in body

    assert told("") == ("401", False)
    assert told(bob.token) == ("403", False)
    assert told(alice.token) == ("200", True)


# The ports of schedulers and workers


@pytest.mark.parametrize("which", ["scheduler", "worker"])
@pytest.mark.parametrize("machine", MACHINES)
def test_a_schedulers_and_a_workers_port_answer_who_has_the_certificate(
    alice: Owner, bob: Owner, machine: str, which: str
) -> None:
    """From the same machine bob does not even get as far: there the kernel knows him."""
    host, port = alice.scheduler if which == "scheduler" else alice.worker
    there = {"host": host, "port": port, "path": "/status" if which == "scheduler" else "/metrics"}
    refused: list[dict[str, object]] = [{"tls": False}, {}, {"certificate": bob.pem}]
    asked = [*({**there, **way} for way in refused), {**there, "certificate": alice.pem}]
    for user in ("alice", "root"):
        *others, own = fetches(machine, user, *asked)
        assert [(status, said in NO_ANSWER) for status, said in others] == [(0, True)] * 3, (user, others)
        assert own[0] == 200, (user, own)
    *others, with_the_certificate = fetches(machine, "bob", *asked)
    if RACK.machine(machine).address == host:
        assert {*others, with_the_certificate} == {(0, "ConnectionRefusedError")}
    else:
        assert [(status, said in NO_ANSWER) for status, said in others] == [(0, True)] * 3, others


def test_bobs_worker_with_its_own_certificate_gets_no_answer(alice: Owner, bob: Owner) -> None:
    """In the sandbox of workers, with the files that it has."""
    cell = f"""
        def attempt(host, port):
            import os, socket, ssl
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            tls = "DASK_DISTRIBUTED__COMM__TLS__WORKER__"
            context.load_cert_chain(os.environ[tls + "CERT"], os.environ[tls + "KEY"])
            try:
                with context.wrap_socket(socket.create_connection((host, port), timeout=30)) as own:
                    own.sendall(b"GET /health HTTP/1.0\\r\\n\\r\\n")
                    return own.recv(15).decode()
            except OSError as error:
                return type(error).__name__
        say(
            others=client.submit(attempt, *{alice.scheduler!r}, pure=False).result(),
            own=client.submit(attempt, *{bob.scheduler!r}, pure=False).result(),
        )
    """
    said = bob.notebook.run(cell)
    assert said["own"] == "HTTP/1.1 200 OK"
    assert said["others"] in NO_ANSWER | {"ConnectionRefusedError"}  # the latter on the same machine


# The gateway's TLS proxy


@pytest.mark.parametrize("machine", MACHINES)
def test_the_name_of_a_dashboard_opens_nothing_without_its_certificate(alice: Owner, bob: Owner, machine: str) -> None:
    name = f"daskgateway-{alice.cluster}-dashboard"
    there = {"host": HEAD_ADDRESS, "port": TLS_PORT, "path": "/status", "name": name}
    asked = [there, {**there, "certificate": bob.pem}, {**there, "certificate": alice.pem}]
    for user in ("bob", "alice", "root"):
        *others, own = fetches(machine, user, *asked)
        if machine != HEAD:  # where nobody needs the port
            assert {*others, own} == {(0, "ConnectionRefusedError")}
            continue
        assert [(status, said in NO_ANSWER) for status, said in others] == [(0, True)] * 2, (user, others)
        assert own[0] == 200, (user, own)


@pytest.mark.parametrize("name", ["daskgateway-{other}-dashboard", "{own}-dashboard", "daskgateway-{own}", None])
def test_the_certificate_opens_no_other_name(alice: Owner, bob: Owner, name: str | None) -> None:
    told = name and name.format(own=alice.cluster, other=bob.cluster)
    status, said = fetch(HEAD, "alice", HEAD_ADDRESS, TLS_PORT, certificate=alice.pem, name=told)
    assert (status, "Bokeh" in said) == (0, False)


TARGETS = {
    "another machine": ("dashboard_address", "http://{other}:7480"),
    "the head": ("dashboard_address", "http://{head}:{hub}"),
    "the head's loopback": ("dashboard_address", "http://127.0.0.1:{hub}"),
    "a service of the same machine": ("dashboard_address", "http://{own}:22"),
    "another's scheduler": ("scheduler_address", "tls://{bob}"),
    "a name": ("scheduler_address", "tls://head1:41000"),
    "with the gateway's token": ("api_address", "http://{other}:41000"),
    "by a user's name": ("api_address", "http://{own}@{other}:41000"),
}
TELL = """
    def tell(dask_scheduler, changes):
        import json, os, urllib.error, urllib.request
        service = dask_scheduler.services["gateway"]
        told = {
            "scheduler_address": dask_scheduler.address, "dashboard_address": service.dashboard_address,
            "api_address": service.api_address, "count": service.count,
            "active_workers": list(service.active_workers), "closing_workers": [], "closed_workers": [], **changes,
        }
        request = urllib.request.Request(
            f"{os.environ['DASK_GATEWAY_API_URL']}/v1/clusters/{os.environ['DASK_GATEWAY_CLUSTER_NAME']}/heartbeat",
            data=json.dumps(told).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"token {service.gateway.token}"},
        )
        try:
            return urllib.request.urlopen(request, timeout=30).status
        except urllib.error.HTTPError as error:
            return error.code
    say(lie=client.run_on_scheduler(tell, changes=CHANGES), truth=client.run_on_scheduler(tell, changes={}))
"""


@pytest.mark.parametrize("target", TARGETS)
def test_a_scheduler_leads_the_gateway_to_nobody_else(alice: Owner, bob: Owner, target: str) -> None:
    name, address = TARGETS[target]
    other = next(RACK.machine(store).address for store in STORES if store != alice.store)
    address = address.format(
        own=alice.scheduler[0],
        other=other,
        head=HEAD_ADDRESS,
        hub=FACILITY.facts["jupyterhub_proxy_port"],
        bob=":".join(map(str, bob.scheduler)) if bob.store != alice.store else f"{other}:41000",
    )
    said = alice.notebook.run(TELL.replace("CHANGES", repr({name: address})))
    assert said == {"lie": 409, "truth": 200}


# The owner's server


def test_nobody_but_the_owner_is_let_in_at_the_owners_server(alice: Owner, bob: Owner) -> None:
    for path in (alice.link, alice.link.replace("/status", "/metrics")):
        stranger = visit(path)
        assert stranger.status == 302
        assert "/hub/" in stranger.location
        assert visit(path, bob.token).status == 403


def test_bobs_own_server_shows_no_dashboard_of_alices(alice: Owner, bob: Owner) -> None:
    assert visit(alice.link.replace("/user/alice/", "/user/bob/"), bob.token).status == 404
    host, port = alice.scheduler
    assert visit(f"/user/bob/proxy/{host}:{port}/status", bob.token).status == 403
    assert is_dashboard(visit(bob.page(), bob.token))


@pytest.mark.parametrize("path", ["status", "metrics", "individual-plots.json", "json/counts.json", "health"])
def test_a_key_without_the_log_in_opens_no_page_and_no_figures(alice: Owner, bob: Owner, path: str) -> None:
    address = alice.page().replace("/status", f"/{path}")
    refused = visit(address)
    assert (refused.status, refused.body) == (403, "Log in first.")
    assert visit(address, bob.token).status == 403
    assert visit(address, alice.token).status == 200


def test_a_key_opens_the_parts_of_its_own_clusters_pages_alone(alice: Owner) -> None:
    """They are Dask's own scripts and pictures, the same for everybody."""
    part = alice.page().replace("/status", "/statics/css/base.css")
    assert visit(part).status == 200
    key = part.partition("~")[2].partition("/")[0]
    assert len(key) == 43
    for other in (part.replace(alice.cluster, "0" * 32), part.replace(key, "x" * len(key))):
        assert visit(other).status == 302
        assert "/hub/" in visit(other).location


@pytest.mark.parametrize("who", ["a stranger", "bob", "alice"])
def test_a_websocket_wants_the_key(alice: Owner, bob: Owner, who: str) -> None:
    """Another site's page may open one with the cookies of its visitor."""
    token = {"bob": bob.token, "alice": alice.token}.get(who, "")
    page = alice.page()
    key = page.split("~")[1].split("/")[0]
    for path in (f"{alice.link}/ws", f"{page}/ws".replace(key, "x" * len(key))):
        answer = visit(path, token, **WEBSOCKET, Origin="http://elsewhere.example")
        assert answer.status in (302, 403), path
    assert visit(f"{page}/ws", "", **WEBSOCKET, Origin="null").status == 101


def test_the_tunnels_socket_is_the_owners(alice: Owner) -> None:
    alice.page()
    path = f"/run/jupyter-alice-singleuser/dashboard-{alice.cluster}"
    program = f"""
def connect():
    with socket.socket(socket.AF_UNIX) as own:
        own.connect({path!r})
        own.sendall(b"GET /health HTTP/1.0\\r\\n\\r\\n")
        return own.recv(15).decode()
say(attempt(connect))
"""
    assert ask(HEAD, f"stat -c %U {path}").strip() == "alice"
    assert run(HEAD, "bob", program) == "EACCES"
    assert run(HEAD, "alice", program) == "HTTP/1.1 200 OK"


def test_a_page_that_a_scheduler_adds_is_sealed(alice: Owner) -> None:
    """It learns no cookie and no token, and sets none; whatever it says of itself, it has no origin."""
    alice.notebook.run("""
        def add(dask_scheduler):
            from tornado import web

            class Added(web.RequestHandler):
                def get(self):
                    for name, value in (
                        ("Set-Cookie", "_xsrf=of-the-scheduler; Path=/"), ("Content-Security-Policy", "default-src *"),
                        ("Access-Control-Allow-Origin", "*"), ("Clear-Site-Data", '"*"'), ("Refresh", "0; url=/hub"),
                    ):
                        self.set_header(name, value)
                    self.write({"heard": dict(self.request.headers)})
            dask_scheduler.http_application.add_handlers(".*", [("/added", Added)])
        client.run_on_scheduler(add)
        say()
    """)
    address = alice.page().replace("/status", "/added")
    for accept in ("text/html", "text/event-stream"):
        answer = visit(address, alice.token, Accept=accept, Cookie="jupyterhub-user-alice=canary; _xsrf=canary")
        assert answer.status == 200
        heard = json.loads(answer.body)["heard"]
        assert "X-Forwarded-Prefix" in heard
        assert not {"Cookie", "Authorization", "Origin", "Referer", "X-Forwarded-For"} & set(heard)
        assert "canary" not in answer.body
        assert alice.token not in answer.body
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("sandbox ")
        assert "allow-same-origin" not in policy
        assert "of-the-scheduler" not in str(answer.headers)
        assert not {"access-control-allow-origin", "clear-site-data", "refresh"} & set(answer.headers)
