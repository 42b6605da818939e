"""The reader's program, what it is asked through the service, and what a researcher's process asks the gateway."""

import base64
import io
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from appliance.placement import Heads, PlacementUnavailable, reader
from appliance.placement.layouts import MAX_OBJECTS, wanted
from appliance.placement.signature import Keys


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ([], "a request is an object"),
        ({"bucket": 5, "objects": []}, "a request is an object"),
        ({"bucket": "a"}, "objects is no list"),
        ({"bucket": "a", "objects": [["k", "", "e"]] * (MAX_OBJECTS + 1)}, "at most 1000"),
        ({"bucket": "a", "objects": [["k", ""]]}, "objects\\[0\\] is not"),
        ({"bucket": "a", "objects": [["k", "", None]]}, "objects\\[0\\] holds"),
        ({"bucket": "a", "objects": [["k" * 5000, "", ""]]}, "objects\\[0\\] holds"),
    ],
)
def test_a_request_that_is_none_is_refused(request_: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wanted(request_)


def test_heads_need_an_endpoint_and_keys_and_name_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PlacementUnavailable, match="AWS_ENDPOINT_URL"):
        Heads.from_environment()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:7481")
    with pytest.raises(PlacementUnavailable, match="AWS_SHARED_CREDENTIALS_FILE"):
        Heads.from_environment()
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(PlacementUnavailable, match="No such file"):
        Heads.from_environment()
    (tmp_path / "none").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    assert Heads.from_environment().keys == Keys("a", "b")


def test_a_gateway_that_is_down_is_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5.0]
    heads = Heads("http://127.0.0.1:9", Keys("a", "b"), retry_after=5, clock=lambda: now[0])
    assert heads("alice", ["a"]) == [None]
    asked: list[str] = []
    monkeypatch.setattr(Heads, "_asked", lambda *told: asked.append(told[2]))
    assert heads("alice", ["a", "b", "c"]) == [None] * 3
    assert asked == []
    now[0] += 5
    assert heads("lab:alice", ["a b"]) == [None]
    assert asked == ["/lab%3Aalice/a%20b"]


class FakeRados(types.ModuleType):
    """Ceph's bindings, as far as the reader uses them."""

    class Error(Exception):
        """As there."""

    def __init__(self, objects: dict[tuple[str, str, str], dict[str, bytes]]) -> None:
        super().__init__("rados")
        fake = self

        class Handle:
            def __init__(self, pool: str) -> None:
                self.pool, self.locator = pool, ""

            def set_locator_key(self, locator: str) -> None:
                self.locator = locator

            def get_xattr(self, name: str, attribute: str) -> bytes:
                try:
                    return objects[self.pool, name, self.locator][attribute]
                except KeyError:
                    raise fake.Error from None

        class Rados:
            def __init__(self, **settings: Any) -> None:
                assert settings["conf"]["rados_osd_op_timeout"] == "3", "else a dead group is waited for for ever"

            def connect(self, timeout: int) -> None:
                assert timeout == 3

            def open_ioctx(self, pool: str) -> Handle:
                return Handle(pool)

        self.Rados = Rados


def test_the_reader_hands_out_manifests_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = {"user.rgw.etag": b"e-2\0", "user.rgw.manifest": b"manifest", "user.rgw.acl": b"acl"}
    objects = {
        ("data", "m_k", ""): both,
        ("data", "m___k", "m__k"): both,
        ("data", "bare", ""): {"user.rgw.etag": b"e"},
    }
    questions = [
        ["data", "m_k", "", "e-2"],
        ["data", "m___k", "m__k", '"e-2"'],
        ["data", "m___k", "", "e-2"],
        ["data", "m_k", "", "e"],
        ["data", "m_k", "", ""],
        ["other", "m_k", "", "e-2"],
        ["data", "bare", "", "e"],
    ]
    monkeypatch.setitem(sys.modules, "rados", FakeRados(objects))
    monkeypatch.setattr(sys, "argv", ["reader", "--id", "x", "--conf", "c", "--keyring", "k", "--timeout", "3"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"objects": questions}) + "\n"))
    reader.main()
    manifest = base64.b64encode(b"manifest").decode()
    assert json.loads(capsys.readouterr().out) == {"manifests": [manifest, manifest, None, None, None, None, None]}
