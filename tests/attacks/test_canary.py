"""The secrets of a researcher's running work lie where they belong, and nowhere else on any machine.

What Ansible says, and keys of the vault, of S3 and of Ceph in logs, units and files, is asked in
`tests/rack/test_secrets.py`.
"""

from __future__ import annotations

import re
import secrets
import time
import urllib.error
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from canaries import PLACES, marks, search, seen_by
from dashboard_scene import Owner, owner, visit
from hub_session import HubSession
from intruder import run
from machines import FACILITY, HEAD, MACHINES, STORES, ask
from placement_rack import ENDPOINT, keys
from s3_requests import Request, Signing, presigned
from site_run import PROJECT, site_secrets

# Alice's own work, which goes on while the tests look. The links and the dump are secrets in what she does.
WORK = """
    import fsspec, os, subprocess, sys, urllib.request
    canary = CANARIES
    os.environ["ALICES"] = canary["variable"]
    idle = [sys.executable, "-c", "import time; time.sleep(600)", canary["command line"]]
    child = subprocess.Popen(idle, cwd="/tmp")
    dies = "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (-1, -1)); os.abort()"
    ended = subprocess.run([sys.executable, "-c", dies, canary["dump"]], cwd="/tmp")
    files = fsspec.filesystem("s3")
    place = "alice/" + canary["object"]
    files.pipe_file(place, canary["content"].encode())
    turned = lambda text: text[::-1]
    held = client.submit(turned, canary["argument"], key="kept-" + canary["key"])
    def fails(argument):
        raise ValueError("no")
    failed = client.submit(fails, canary["failing argument"]).exception()
    def read(place):
        import fsspec
        return fsspec.filesystem("s3").cat_file(place).decode()
    content = client.submit(read, place).result()
    scattered = client.scatter(canary["scattered"])
    linked = [urllib.request.urlopen(LINK).read().decode() for _ in range(6)]
    say(dump=ended.returncode, result=held.result(), failed=str(failed), content=content, linked=linked)
"""
END = """
    child.kill(); child.wait()
    files.rm_file(place)
    say()
"""
CANARIES = (
    *("variable", "command line", "dump", "object", "content", "argument", "key", "failing argument", "scattered"),
    "wrong password",
)


@dataclass(frozen=True)
class Scene:
    """Alice at work, since when, and all that nobody else may know of it, by what it is."""

    alice: Owner
    since: int
    secrets: Mapping[str, str]


def cookies(wrong: str, right: str) -> dict[str, str]:
    """Log alice in, once with a password that is wrong, and return what her browser is given."""
    session = HubSession(FACILITY.front, "alice")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        session.log_in(wrong)
    session.log_in(right)
    session.ask("/user/alice/lab")
    found = {cookie.name: (cookie.value or "").strip('"') for cookie in session.jar}
    # Those that let somebody in.
    return {f"cookie {name}": found[f"__Host-jupyterhub-{name}"] for name in ("hub-login", "user-alice")}


def credentials(alice: Owner) -> dict[str, str]:
    """What alice's units have been given, as root finds it."""
    server = "/proc/$(systemctl show --value --property=MainPID jupyter-alice-singleuser)/environ"
    (token,) = re.findall(r"^JUPYTERHUB_API_TOKEN=(\w+)$", ask(HEAD, f"tr '\\0' '\\n' < {server}"), re.MULTILINE)
    unit = f"/run/credentials/dask-alice-{alice.cluster}-scheduler.service"
    return {
        "server's token": token,
        "cluster's token": ask(alice.store, f"cat {unit}/token").strip(),
        # Of a key of several lines, one: what is searched for is searched line by line.
        "cluster's key": ask(alice.store, f"sed -n 3p {unit}/tls_key").strip(),
    }


@pytest.fixture(scope="module")
def there() -> Iterator[Scene]:
    since = int(time.time())
    canary = {name: f"canary-{secrets.token_hex(8)}" for name in CANARIES}
    signing = Signing(keys("alice"), ENDPOINT.removeprefix("http://"))
    link = presigned(signing, Request("GET", f"/alice/{canary['object']}")).target
    with owner("alice") as alice:
        found = {**canary, "password": FACILITY.password("alice"), "result": canary["argument"][::-1]}
        found |= cookies(canary["wrong password"], found["password"])
        work = WORK.replace("CANARIES", repr(canary)).replace("LINK", repr(ENDPOINT + link))
        try:
            said = alice.notebook.run(work)
            assert said.pop("linked") == [canary["content"]] * 6
            assert said == {"dump": -6, "result": found["result"], "failed": "no", "content": canary["content"]}
            # A token in an address would be in whatever writes addresses down, were it taken there or not.
            assert visit(f"/user/alice/api/status?token={alice.token}").status == 403
            assert visit("/user/alice/api/status", alice.token).status == 200
            found |= credentials(alice)
            found |= {"token": alice.token, "link": link.rpartition("=")[2]}
            found["page's key"] = alice.page().partition("~")[2].partition("/")[0]
            yield Scene(alice, since, found)
        finally:
            alice.notebook.run(END)


# What root finds


@pytest.fixture(scope="module")
def found(there: Scene) -> dict[str, dict[str, set[str]]]:
    """What root finds on each machine, by place, with a mark in each of them."""
    hidden = site_secrets()

    def look(machine: str) -> dict[str, set[str]]:
        with marks(machine) as planted:
            marked = {f"mark {place}": word for place, word in planted.items()}
            return search(machine, {**there.secrets, **hidden, **marked}, there.since, "alice")

    with ThreadPoolExecutor(len(MACHINES)) as threads:
        return dict(zip(MACHINES, threads.map(look, MACHINES), strict=True))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("machine", MACHINES)
def test_root_finds_no_secret(found: dict[str, dict[str, set[str]]], machine: str, place: str) -> None:
    names = found[machine][place]
    assert f"mark {place}" in names
    known = {
        # Alice's own choice, and nobody but root sees it.
        "command lines": {"command line", "dump"},
        # The hub's proxy takes its token from there; its own user and root alone see it.
        "environments": {name for name in names if name.startswith("vault ") and machine == HEAD},
    }
    assert {name for name in names if not name.startswith("mark ")} - known.get(place, set()) == set()


@pytest.mark.usefixtures("found")  # which has read the journal by then
@pytest.mark.parametrize("store", STORES)
def test_a_gateways_last_words_hold_no_key(there: Scene, store: str) -> None:
    """When it ends by a fault it writes down what it did last, in more detail than its log has."""
    hidden = {**site_secrets(), **{name: there.secrets[name] for name in ("content", "cluster's token")}}
    hidden["object"] = there.secrets["object"]
    ask(store, "ceph daemon /run/ceph/ceph-client.rgw.*.asok log dump && journalctl --sync")
    assert search(store, hidden, there.since, "alice", ["journal"]) == {"journal": {"object"}}


def test_the_databases_of_hub_and_gateway_hold_tokens_as_digests_and_keys_encrypted(there: Scene) -> None:
    hidden = [there.secrets[name] for name in ("token", "server's token", "cluster's token", "cluster's key")]
    for path, known in (
        ("/var/lib/jupyterhub/jupyterhub.sqlite", there.alice.token[:4]),
        ("/var/lib/dask-gateway/gateway.sqlite", there.alice.cluster),
    ):
        words = "\n".join([known, *hidden]) + "\n"
        hits = ask(HEAD, f"exec 3<&0; cat {path}* </dev/null | grep -aoF -f /dev/fd/3 | sort -u", given=words).split()
        assert hits == [known]
        program = f"say(attempt(lambda: open({path!r}, 'rb').read(15).decode()))"
        assert run(HEAD, "bob", program) == "EACCES"
        assert run(HEAD, "root", program) == "SQLite format 3"


def test_nothing_of_it_lies_in_the_project_on_the_control_host(there: Scene) -> None:
    """What is built, caches, logs, and what Ansible keeps: all but the Python that runs this."""
    build = PROJECT / "build"
    made = not build.exists()
    build.mkdir(exist_ok=True)
    planted = build / f"test-canary-{secrets.token_hex(4)}"
    words = {**there.secrets, **site_secrets(), "mark": f"canary-{secrets.token_hex(8)}"}
    try:
        planted.write_text(words["mark"])
        seen: dict[str, set[str]] = {}
        for path in PROJECT.rglob("*"):
            if ".venv" not in path.parts and path.is_file() and path.stat().st_size < 2**24:
                data = path.read_bytes()
                for name, word in words.items():
                    if word.encode() in data:
                        seen.setdefault(str(path), set()).add(name)
        assert seen == {str(planted): {"mark"}}
    finally:
        planted.unlink()
        if made:
            build.rmdir()


# What others see


@pytest.fixture(scope="module")
def seen(there: Scene) -> dict[str, dict[str, dict[str, set[str]]]]:
    """What bob and root see on each machine, in the same way, with marks in each place."""

    def look(machine: str) -> dict[str, dict[str, set[str]]]:
        with marks(machine) as planted:
            words = {**there.secrets, **{f"mark {place}": word for place, word in planted.items()}}
            return {user: seen_by(machine, user, words, there.since) for user in ("bob", "root")}

    with ThreadPoolExecutor(len(MACHINES)) as threads:
        return dict(zip(MACHINES, threads.map(look, MACHINES), strict=True))


@pytest.mark.parametrize("machine", MACHINES)
def test_another_researcher_sees_none(
    there: Scene, seen: dict[str, dict[str, dict[str, set[str]]]], machine: str
) -> None:
    """In files, names of files, processes, and what programs tell; root, who looks in the same way, sees them all."""
    his, all_ = seen[machine]["bob"], seen[machine]["root"]
    # These three were put where everybody reads.
    assert his == {"files": {"mark files for all", "mark logs", "mark Nix store"}}
    assert {"mark temporary directories", "mark dumps", *his["files"]} <= all_["files"]
    assert {"mark command lines", "mark environments"} <= all_["processes"]
    assert {"mark journal", "mark units", "mark command lines", "mark environments"} <= all_["programs"]
    if machine == HEAD:
        assert {"variable", "command line", "server's token"} <= all_["processes"]
    if machine == there.alice.store:
        assert {"cluster's token", "cluster's key"} <= all_["files"]


@pytest.mark.parametrize(
    "page",
    ["info/main/workers.html", "info/task/{task}.html", "info/logs.html", "json/index.html", "metrics", "sitemap.json",
     "eventstream", "individual-plots.json", "status"],
)  # fmt: skip
def test_no_page_of_a_cluster_tells_a_stranger(there: Scene, page: str) -> None:
    alice = there.alice
    task = f"kept-{there.secrets['key']}"
    address = alice.page().replace("/status", "/" + page.replace("{task}", task))
    for path in (address, f"/user/alice/proxy/clusters/{alice.cluster}/{page}"):
        for token in ("", there.secrets["cluster's token"]):
            answer = visit(path, token)
            assert answer.status in (302, 403, 404)
            assert not [name for name, word in there.secrets.items() if word in answer.body]
    task_page = alice.page().replace("/status", f"/info/task/{task}.html")
    assert task in visit(task_page, alice.token).body
