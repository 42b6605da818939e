"""What ends of a researcher who is locked, and how what they kept changes hands."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import http_serving
import pytest
from ansible.module_utils.ceph_cli import CephError
from http_serving import serving

import buckets_handed_over
import home_handed_over
import hub_users
import researchers_ended

Answer = Callable[..., dict[str, Any]]
OWN = os.getuid()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a file, a directory and a link that leads out of it."""
    folder = tmp_path / "home/carol"
    (folder / "a/b").mkdir(parents=True)
    (folder / "a/b/c").write_text("data")
    (folder / "out").symlink_to("/etc/passwd")
    return folder


def test_a_home_moves_as_a_whole_and_once(answer: Answer, home: Path, tmp_path: Path) -> None:
    to = tmp_path / "home/dave/from-carol"
    asked = {"home": str(home), "uid": OWN, "to": str(to), "owner": OWN}
    assert answer(home_handed_over, check=True, **asked)["changed"]
    assert home.exists()
    said = answer(home_handed_over, **asked)
    assert (said["changed"], said["files"]) == (True, 5)
    assert (to / "a/b/c").read_text() == "data"
    assert (to / "out").readlink() == Path("/etc/passwd")
    assert not home.exists()
    assert not answer(home_handed_over, **asked)["changed"]


def test_what_is_at_the_new_place_is_never_touched(answer: Answer, home: Path, tmp_path: Path) -> None:
    to = tmp_path / "from-carol"
    to.symlink_to("/nowhere")
    said = answer(home_handed_over, home=str(home), uid=OWN, to=str(to), owner=OWN)
    assert said["failed"]
    assert "is there already, and nothing is written over it" in said["msg"]
    assert (home / "a/b/c").exists()


@pytest.fixture
def _elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing could be moved out of the home, as between file systems."""
    rename = Path.rename

    def across(path: Path, target: Path) -> Path:
        if (home in path.parents or path == home) and Path(target).parent != home.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", across)


@pytest.mark.usefixtures("_elsewhere")
def test_nothing_is_copied_into_a_directory_of_a_researchers(
    answer: Answer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heirs = tmp_path / "heir"
    heirs.mkdir()
    stat = Path.stat

    def of_the_heir(path: Path, **how: Any) -> os.stat_result:
        found = list(stat(path, **how))
        if path == heirs:
            found[4] = 2002
        return os.stat_result(found)

    monkeypatch.setattr(Path, "stat", of_the_heir)
    said = answer(home_handed_over, home=str(home), uid=OWN, to=str(heirs / "from-carol"), owner=OWN)
    assert said["failed"]
    assert "different file systems" in said["msg"]
    assert list(heirs.iterdir()) == []
    assert sorted(path.name for path in home.iterdir()) == ["a", "out"]


def test_only_what_was_the_leavers_changes_hands(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, int, int]] = []

    def chown(name: str, uid: int, gid: int, **how: Any) -> None:
        assert how["follow_symlinks"] is False
        given.append((Path(name).name, uid, gid))

    monkeypatch.setattr(os, "chown", chown)
    assert home_handed_over.give(home, OWN + 1, 7) == 0
    assert given == []
    assert home_handed_over.give(home, OWN, 7) == 5
    assert given[-1][0] == "carol"  # the home at last: until then a run that was stopped finds its way
    assert {name for name, *_ in given} == {"c", "b", "a", "out", "carol"}


def run(command: list[str]) -> tuple[int, str, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.usefixtures("_elsewhere")
def test_between_file_systems_a_copy_is_compared_before_anything_is_removed(home: Path, tmp_path: Path) -> None:
    def damaging(command: list[str]) -> tuple[int, str, str]:
        ended = run(command)
        if "--dry-run" not in command:
            (tmp_path / ".archive.part/a/b/c").write_text("dama")
        return ended

    with pytest.raises(home_handed_over.HandOverError, match="differs"):
        home_handed_over.move(damaging, home, tmp_path / "archive")
    assert (home / "a/b/c").read_text() == "data"
    assert not (tmp_path / "archive").exists()
    # What the stopped run left is used and mended.
    home_handed_over.move(run, home, tmp_path / "archive")
    assert (tmp_path / "archive/a/b/c").read_text() == "data"
    assert not home.exists()


@pytest.mark.usefixtures("_elsewhere")
def test_a_run_that_was_stopped_after_the_copy_has_the_rest_removed(
    answer: Answer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"home": str(home), "uid": OWN, "to": str(tmp_path / "archive/carol/home"), "owner": OWN}
    with monkeypatch.context() as patch:
        patch.setattr(home_handed_over.shutil, "rmtree", stopped)
        assert "stopped" in answer(home_handed_over, **asked)["msg"]
    assert not answer(home_handed_over, **asked)["changed"]
    assert (tmp_path / "archive/carol/home/a/b/c").read_text() == "data"
    assert list(home.parent.iterdir()) == []


def stopped(_: Path) -> None:
    raise OSError("stopped")


class Cluster:
    """What radosgw-admin does for carol with two buckets; the second chown fails as often as is said."""

    owners: ClassVar[dict[str, str]] = {}
    keys: ClassVar[dict[str, list[str]]] = {}
    faults: ClassVar[list[str]] = []
    told: ClassVar[list[tuple[str, ...]]] = []

    def __init__(self, *_: object) -> None:
        pass

    def rgw(self, *words: str) -> Any:
        match words:
            case ("user", "list"):
                return list(self.keys)
            case ("user", "info", "--uid", name):
                return {"keys": [{"access_key": key} for key in self.keys[name]]}
            case ("user", "create", "--uid", name, *_):
                self.keys[name] = ["made"]
            case ("key", "rm", "--uid", name, _, key):
                self.keys[name].remove(key.partition("=")[2])
            case ("bucket", "list", who):
                return [bucket for bucket, owner in self.owners.items() if f"--uid={owner}" == who]
            case ("bucket", "chown", bucket, who):
                if self.faults and bucket == "--bucket=more":
                    raise CephError(self.faults.pop())
                self.owners[bucket.partition("=")[2]] = who.partition("=")[2]
        self.told.append(words)
        return None


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> type[Cluster]:
    monkeypatch.setattr(Cluster, "owners", {"carol": "carol", "more": "carol", "dave": "dave"})
    monkeypatch.setattr(Cluster, "keys", {"carol": ["a", "b"], "dave": ["c"]})
    monkeypatch.setattr(Cluster, "faults", [])
    monkeypatch.setattr(Cluster, "told", [])
    monkeypatch.setattr(buckets_handed_over, "Cluster", Cluster)
    return Cluster


def test_all_buckets_change_hands_and_the_leaver_keeps_no_key(
    answer: Answer, cluster: type[Cluster], tmp_path: Path
) -> None:
    asked = {"user": "carol", "to": "dave", "record": str(tmp_path / "x/carol.json")}
    assert answer(buckets_handed_over, check=True, **asked)["buckets"] == ["carol", "more"]
    assert cluster.told == []
    assert answer(buckets_handed_over, **asked)["buckets"] == ["carol", "more"]
    assert set(cluster.owners.values()) == {"dave"}
    assert cluster.keys == {"carol": [], "dave": ["c"]}
    assert not answer(buckets_handed_over, **asked)["changed"]


def test_a_run_that_was_stopped_goes_on_where_it_was(answer: Answer, cluster: type[Cluster], tmp_path: Path) -> None:
    asked = {"user": "carol", "to": "dave", "record": str(tmp_path / "carol.json")}
    cluster.faults.append("no answer")
    # The gateway links a bucket first and then gives its objects: so it is no more the leaver's, and not done.
    said = answer(buckets_handed_over, **asked)
    assert said["failed"]
    cluster.owners["more"] = "dave"
    assert "on their way to dave" in answer(buckets_handed_over, **{**asked, "to": "zoe"})["msg"]
    assert answer(buckets_handed_over, **asked)["buckets"] == ["more"]
    assert json.loads((tmp_path / "carol.json").read_text())["buckets"] == []


def test_a_bucket_that_is_somebody_elses_by_now_is_not_given(
    answer: Answer, cluster: type[Cluster], tmp_path: Path
) -> None:
    asked = {"user": "carol", "to": "dave", "record": str(tmp_path / "carol.json")}
    cluster.faults.append("no answer")
    assert answer(buckets_handed_over, **asked)["failed"]
    cluster.owners["more"] = "bob"
    assert answer(buckets_handed_over, **asked)["buckets"] == []
    assert cluster.owners["more"] == "bob"


def test_an_archive_is_a_user_who_is_made_and_has_no_key(
    answer: Answer, cluster: type[Cluster], tmp_path: Path
) -> None:
    asked = {"user": "carol", "to": "appliance-archive", "record": str(tmp_path / "carol.json")}
    assert "there is no S3 user appliance-archive" in answer(buckets_handed_over, **asked)["msg"]
    assert set(cluster.owners.values()) == {"carol", "dave"}
    answer(buckets_handed_over, make=True, **asked)
    assert cluster.owners["carol"] == "appliance-archive"
    assert cluster.keys["appliance-archive"] == []


class Hub(http_serving.Handler):
    """Knows alice, and carol, whose server takes a while to end."""

    asked: ClassVar[list[str]] = []

    def do_DELETE(self) -> None:
        """Answer as the hub does."""
        self.asked.append(self.path)
        status = 404
        if self.headers["Authorization"] != "token right":
            status = 403
        elif self.path == "/hub/api/users/alice":
            status = 204
        elif self.path == "/hub/api/users/carol":
            status = 204 if len(self.asked) > 2 else 400
        body = b"" if status == 204 else b'{"message": "the server is stopping"}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Hub, "asked", [])
    with serving(Hub) as port:
        yield f"http://127.0.0.1:{port}/hub/api"


def test_the_hub_forgets_those_whom_it_knows(answer: Answer, hub: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("right\n")
    said = answer(hub_users, absent=["alice", "bob"], url=hub, token_file=str(tmp_path / "token"))
    assert (said["changed"], said["forgotten"]) == (True, ["alice"])
    assert not answer(hub_users, absent=["bob"], url=hub, token_file=str(tmp_path / "token"))["changed"]


def test_a_server_that_is_ending_is_waited_for(hub: str) -> None:
    assert hub_users.forget(hub, "right", "carol", 60) is True
    assert len(Hub.asked) == 3


def test_a_hub_that_does_not_do_it_is_told_with_its_words(answer: Answer, hub: str, tmp_path: Path) -> None:
    with pytest.raises(hub_users.HubError, match="400: the server is stopping"):
        hub_users.forget(hub, "right", "carol", 0)
    (tmp_path / "token").write_text("wrong")
    said = answer(hub_users, absent=["alice"], url=hub, token_file=str(tmp_path / "token"))
    assert "403" in said["msg"]
    assert answer(hub_users, absent=["alice"], url=hub, token_file=str(tmp_path / "none"))["failed"]


def test_accounts_that_let_somebody_in_are_found() -> None:
    shadow = "root:*:20000:0:99999:7:::\nalice:$y$x:20000:0:99999:7:::\nbob:!$y$x:20000:0:99999:7::1:\nx\n"
    assert researchers_ended.open_accounts(["alice", "bob", "carol"], shadow) == ["alice"]


@pytest.mark.parametrize("name", [b"a\x1cState: Z", b"a\x1cUid: 7 7 7 7", b"\xff\xfe", b"a\nUid:\t7"])
def test_processes_of_a_uid_are_found_whatever_they_call_themselves(name: bytes) -> None:
    comm = Path("/proc/self/comm")
    before = comm.read_bytes()
    try:
        comm.write_bytes(name)
        assert os.getpid() in researchers_ended.processes(OWN)
        assert os.getpid() not in researchers_ended.processes(OWN + 1)
    finally:
        comm.write_bytes(before)


@pytest.mark.parametrize(
    ("name", "uid", "says"), [("nobody", 0, "not 0"), ("carol", 0, "root's"), ("root", 9, "not 9")]
)
def test_nothing_ends_of_somebody_else(answer: Answer, name: str, uid: int, says: str) -> None:
    said = answer(researchers_ended, users=[{"name": name, "uid": uid}])
    assert said["failed"]
    assert "Nothing was changed" in said["msg"]
    assert says in said["msg"]


def test_all_processes_end_and_those_that_they_start(answer: Answer) -> None:
    program = "import os, sys, time; os.fork(); print(1, flush=True); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        process.stdout.readline(), process.stdout.readline()

        def group(_: int) -> set[int]:
            """The processes of this test, in place of all of a uid."""
            listed = subprocess.run(["pgrep", "-s", str(process.pid)], capture_output=True, text=True, check=False)
            return {int(pid) for pid in listed.stdout.split()} & set(researchers_ended.processes(OWN))

        assert len(group(0)) == 2
        assert researchers_ended.kill(0, group)
        assert group(0) == set()
    said = answer(researchers_ended, users=[{"name": "nobody-here", "uid": 59998}])
    assert (said["changed"], said["ended"]) == (False, {})
