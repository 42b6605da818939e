"""A researcher is locked, comes back, is taken off the list, and leaves: what ends, and what is kept."""

from __future__ import annotations

import time
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from hub_session import HubSession
from leaver import (
    KNOWN,
    Leaver,
    dask_status,
    digests,
    forget,
    log_in,
    object_of,
    owner,
    remove,
    researchers,
    running,
    token_of,
    token_status,
)
from machines import FACILITY, MACHINES, STORES, ask, refused, run_on, until
from site_run import play

CAROL = {"name": "carol", "uid": 2203, "groups": ["climate"]}
DAVE = {"name": "dave", "uid": 2204}
KEYS = "/run/test-keys-{}"
# A minute is promised; this machine may have more to do than it can.
MOST_SECONDS = 120.0
GATEWAY_PORT = int(FACILITY.facts["ceph_rgw_port"])


def published(store: str) -> str:
    """What a gateway by itself answers somebody without keys who wants what carol has opened to everybody."""
    url = f"http://127.0.0.1:{GATEWAY_PORT}/carol/published"
    return ask(store, f"curl --silent --output /dev/null --write-out '%{{http_code}}' --noproxy '*' {url}")


@dataclass
class Carol:
    """What carol has: the files of her home and an object, by their digests, and what opens doors for her."""

    files: list[str]
    content: str
    session: HubSession
    token: str


@pytest.fixture(scope="module")
def bob() -> Iterator[HubSession]:
    """The control: bob with a server that runs all the while."""
    session = HubSession(FACILITY.front, "bob")
    session.log_in(FACILITY.password("bob"))
    session.stop()
    session.start()
    yield session
    session.stop()


@pytest.fixture(scope="module")
def carol() -> Iterator[Carol]:
    """Carol with files, an object, a server, a token, and a cluster with a worker."""
    remove(CAROL, DAVE)
    done = researchers(CAROL, DAVE)
    assert done.status == 0, done.said[-2000:]
    try:
        make = "cd ~carol && mkdir -p a/b && seq 10000 > a/b/c && echo x > .hidden && ln -s /etc/passwd link"
        ask("head1", f"{make} && chown -hR carol:carol .")
        for machine in MACHINES:
            for name in ("carol", "dave"):
                ask(machine, f"install -m 0400 /etc/appliance/s3/{name} {KEYS.format(name)}")
        assert object_of(KEYS.format("carol"), "carol", "data", verb="put") == "done"
        files = digests("/home/carol")
        assert any("./a/b/c" in line for line in files)
        session = log_in("carol")
        session.start()
        content = object_of(KEYS.format("carol"), "carol", "data")
        assert len(content) == 64
        with Leaver(FACILITY, "carol") as leaver, leaver.notebook() as notebook:
            notebook.run("""
from dask_gateway import Gateway
cluster = Gateway().new_cluster(worker_memory=0.5)
cluster.scale(1)
cluster.get_client().wait_for_workers(1, timeout=120)
import fsspec, json
files = fsspec.filesystem("s3")
files.pipe_file("carol/published", b"1")
statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::carol/published"}
policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
files.call_s3("put_bucket_policy", Bucket="carol", Policy=policy)
""")
            yield Carol(files, content, session, token_of(session))
    finally:
        for machine in MACHINES:
            ask(machine, "rm -f /run/test-keys-*")
        forget(CAROL, DAVE)


def test_before_all_doors_are_open(carol: Carol) -> None:
    """The control of what is refused below."""
    assert set(running(2203)) & set(STORES)
    assert "head1" in running(2203)
    assert carol.session.server()["ready"] is True
    assert token_status("/hub/api/user", carol.token) == 200
    assert dask_status(carol.token) == 200
    for store in STORES:
        assert object_of(KEYS.format("carol"), "carol", "data", store, port=GATEWAY_PORT) == carol.content
    until(lambda: {published(store) for store in STORES} == {"200"})


def test_who_is_locked_has_nothing_running_after_a_minute_and_all_doors_are_shut(carol: Carol, bob: HubSession) -> None:
    bobs = ask("head1", "systemctl show --value --property=MainPID jupyter-bob-singleuser")
    since = time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        locking = pool.submit(researchers, {**CAROL, "state": "locked"}, DAVE)
        # The hub comes last of what is shut; the run goes on with what concerns others.
        until(lambda: token_status("/hub/api/user", carol.token) == 403)
        took = time.monotonic() - since
        assert running(2203) == {}
        done = locking.result()
    print(f"locked in {took:.1f} s")
    assert done.status == 0, done.said[-3000:]
    assert running(2203) == {}
    for store in STORES:
        assert "dask-carol" not in ask(store, "systemctl list-units --plain --no-legend 'dask-carol-*'")
        # At each gateway by itself, with the key that opened it a minute ago.
        assert object_of(KEYS.format("carol"), "carol", "data", store, port=GATEWAY_PORT) == "403"
        assert published(store) == "403"
    with pytest.raises(urllib.error.HTTPError) as caught:
        carol.session.ask("/hub/api/users/carol")
    assert caught.value.code == 403
    assert token_status("/hub/api/user", carol.token) == 403
    # So the Dask gateway answers to a token that the hub does not know.
    assert dask_status(carol.token) == 500
    with pytest.raises(urllib.error.HTTPError) as caught:
        log_in("carol")
    assert caught.value.code == 403
    for machine in MACHINES:
        assert run_on(machine, "test -e /etc/appliance/s3/carol").returncode != 0
    assert took < MOST_SECONDS

    # All data is where it was.
    assert set(carol.files) <= set(digests("/home/carol"))
    assert owner("carol") == "carol"
    # The control: bob's server is the same, and his doors are open.
    assert ask("head1", "systemctl show --value --property=MainPID jupyter-bob-singleuser") == bobs
    assert bob.server()["ready"] is True
    assert object_of("/etc/appliance/s3/bob", "bob", "of-bob", verb="put") == "done"


@pytest.mark.usefixtures("carol")
def test_a_second_run_changes_nothing() -> None:
    done = researchers({**CAROL, "state": "locked"}, DAVE)
    assert set(done.changed.values()) == {0}, done.said[-3000:]


def test_who_comes_back_has_all_again(carol: Carol) -> None:
    done = researchers(CAROL, DAVE)
    assert done.status == 0, done.said[-3000:]
    session = log_in("carol")
    session.start()
    assert session.server()["ready"] is True
    session.stop()
    assert object_of(KEYS.format("carol"), "carol", "data") == carol.content
    until(lambda: {published(store) for store in STORES} == {"200"})
    assert set(carol.files) <= set(digests("/home/carol"))


def test_who_is_taken_off_the_list_is_named_and_keeps_what_they_have(carol: Carol) -> None:
    before = ask("head1", "id carol; stat -c '%U %a' /home/carol; passwd --status carol")
    done = researchers(DAVE)
    assert done.status == 0, done.said[-3000:]
    said = " ".join(done.said.split())
    assert "carol is not in accounts_users and has an account, a home and S3 keys on head1" in said
    assert ask("head1", "id carol; stat -c '%U %a' /home/carol; passwd --status carol") == before
    log_in("carol")
    assert object_of(KEYS.format("carol"), "carol", "data") == carol.content


@pytest.mark.usefixtures("carol")
def test_nobody_leaves_without_somebody_who_is_known_to_hand_over_to() -> None:
    for entry in ({"state": "absent"}, {"state": "absent", "hand_over_to": "mallory"}):
        done = researchers({**CAROL, **entry}, DAVE, playbook="preflight.yml")
        assert done.status != 0
        assert "nothing was changed" in done.said
        assert "accounts_users[2]." in done.said
        assert set(done.changed.values()) <= {0}
    assert digests("/home/carol")


def test_who_leaves_hands_over_home_and_buckets(carol: Carol) -> None:
    files = digests("/home/carol")
    leaves = {**CAROL, "state": "absent", "hand_over_to": "dave"}
    done = researchers(leaves, DAVE, playbook="leaving.yml", leaving_name="mallory")
    assert done.status != 0
    assert "mallory is nobody who leaves; nothing was handed over" in " ".join(done.said.split())
    unheard = {**CAROL, "state": "absent", "hand_over_to": "davey"}
    done = researchers(unheard, DAVE, playbook="leaving.yml", leaving_name="carol")
    assert done.status != 0
    assert "carol hands over to davey and to the archive (none); nothing was handed over" in " ".join(done.said.split())
    assert digests("/home/carol") == files
    assert owner("carol") == "carol"

    done = researchers(leaves, DAVE, playbook="leaving.yml", leaving_name="carol")
    assert done.status == 0, done.said[-3000:]
    assert digests("/home/dave/from-carol") == files
    assert ask("head1", "find /home/dave/from-carol ! -user dave").strip() == ""
    assert ask("head1", "readlink /home/dave/from-carol/link").strip() == "/etc/passwd"
    assert ask("head1", "stat -c %U /etc/passwd").strip() == "root"
    assert owner("carol") == "dave"
    assert object_of(KEYS.format("dave"), "carol", "data") == carol.content
    assert object_of(KEYS.format("dave"), "carol", "more", verb="put") == "done"
    for store in STORES:
        assert object_of(KEYS.format("carol"), "carol", "data", store, port=GATEWAY_PORT) == "403"
    for machine in MACHINES:
        refused(machine, "ls /home/carol", "No such file")
        assert ask(machine, "id -u carol").strip() == "2203"
    # Once more: nothing is left to do, and nothing is made anew.
    done = researchers(leaves, DAVE, playbook="leaving.yml", leaving_name="carol")
    assert set(done.changed.values()) == {0}, done.said[-3000:]


@pytest.mark.usefixtures("carol")
def test_a_uid_is_never_given_to_somebody_else() -> None:
    done = researchers(DAVE, {"name": "zoe", "uid": 2203})
    assert done.status != 0
    assert "2203 is carol's on this machine; choose another uid" in " ".join(done.said.split())
    assert set(done.changed.values()) <= {0}


@pytest.mark.usefixtures("carol")
def test_who_leaves_for_an_archive_is_kept_there_for_root() -> None:
    files = digests("/home/dave")
    leaves = {**DAVE, "state": "absent", "archive": "/srv/test-archive"}
    gone = {**CAROL, "state": "absent", "archive": "/srv/test-archive"}
    done = researchers(gone, leaves, playbook="leaving.yml", leaving_name="dave")
    assert done.status == 0, done.said[-3000:]
    assert digests("/srv/test-archive/dave-2204/home") == files
    assert ask("head1", "stat -c '%U %a' /srv/test-archive/dave-2204").strip() == "root 700"
    assert {owner("carol"), owner("dave")} == {"appliance-archive"}
    kept = ask(STORES[0], "radosgw-admin object stat --bucket carol --object data")
    assert '"size":' in kept


@pytest.mark.usefixtures("carol")
def test_those_who_stay_are_as_they_were() -> None:
    done = play("researchers.yml", accounts_users=list(KNOWN))
    assert done.status == 0, done.said[-3000:]
    assert ask("head1", "getent group climate").strip().startswith("climate:x:3001:alice,bob")
    for user in ("alice", "bob"):
        assert ask("head1", f"passwd --status {user}").split()[1] == "P"
