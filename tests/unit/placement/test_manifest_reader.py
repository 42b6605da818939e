"""The program that reads manifests."""

import base64
import io
import json
import sys
import types
from typing import Any

import pytest

from appliance.placement.service.rados_helpers import manifest_reader


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
    manifest_reader.main()
    manifest = base64.b64encode(b"manifest").decode()
    assert json.loads(capsys.readouterr().out) == {"manifests": [manifest, manifest, None, None, None, None, None]}
