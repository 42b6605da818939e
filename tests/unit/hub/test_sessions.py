"""A new cookie secret ends the tokens of browsers' sessions, and nothing else."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.hub.sessions import KNOWN, end_sessions

# The columns of JupyterHub's tables that count here.
TABLES = "CREATE TABLE api_tokens (note TEXT, session_id TEXT); CREATE TABLE oauth_codes (session_id TEXT);"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "jupyterhub.sqlite")) as connection, connection:
        connection.executescript(TABLES)
    return tmp_path


def begin(state: Path) -> None:
    with closing(sqlite3.connect(state / "jupyterhub.sqlite")) as connection, connection:
        connection.execute("DELETE FROM api_tokens")
        connection.execute("INSERT INTO api_tokens VALUES ('browser', 'abc'), ('server', NULL), ('asked for', NULL)")
        connection.execute("INSERT INTO oauth_codes VALUES ('abc')")


def left(state: Path) -> tuple[list[str], int]:
    with closing(sqlite3.connect(state / "jupyterhub.sqlite")) as connection:
        notes = [note for (note,) in connection.execute("SELECT note FROM api_tokens")]
        (codes,) = connection.execute("SELECT count(*) FROM oauth_codes").fetchone()
    return notes, codes


def test_sessions_of_another_secret_end_and_other_tokens_go_on(state: Path) -> None:
    end_sessions(b"old", state)
    begin(state)
    assert end_sessions(b"new", state)
    assert left(state) == (["server", "asked for"], 0)


def test_a_hub_that_starts_with_the_same_secret_keeps_them(state: Path) -> None:
    end_sessions(b"same", state)
    begin(state)
    assert not end_sessions(b"same", state)
    assert left(state) == (["browser", "server", "asked for"], 1)


def test_where_no_secret_is_known_the_sessions_end(state: Path) -> None:
    begin(state)
    assert end_sessions(b"new", state)
    assert left(state)[0] == ["server", "asked for"]


def test_a_first_hub_has_no_database_and_the_secret_is_not_kept_itself(tmp_path: Path) -> None:
    assert end_sessions(b"the-secret", tmp_path)
    assert (tmp_path / KNOWN).stat().st_mode & 0o777 == 0o600
    assert "the-secret" not in (tmp_path / KNOWN).read_text()
    assert not (tmp_path / "jupyterhub.sqlite").exists()


def test_a_database_that_cannot_be_changed_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "jupyterhub.sqlite").write_bytes(b"")
    with pytest.raises(sqlite3.OperationalError):
        end_sessions(b"new", tmp_path)
    assert not (tmp_path / KNOWN).exists()
