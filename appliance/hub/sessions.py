"""A new cookie secret ends the sessions of all browsers, those at researchers' servers among them.

The hub's secret signs its own cookies only. A server signs its cookies by a secret of its own, and they hold a token of
the hub's database, which JupyterHub (6.1.1: `orm.APIToken.session_id`) marks by the browser's session. Run before the
hub starts, so that none of them comes back.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

KNOWN = "cookie-secret-of-sessions"  # a digest of the secret by which the sessions of the database began


def end_sessions(secret: bytes, state: Path) -> bool:
    """Delete the tokens of browsers' sessions where the secret is another one than before; return whether it is.

    Servers, their own tokens and those that researchers asked for go on.

    Args:
        secret: what signs the hub's cookies.
        state: the directory of the hub's database.

    Raises:
        sqlite3.Error: the database cannot be changed; the next run tries again.
    """
    digest, known, database = hashlib.sha256(secret).hexdigest(), state / KNOWN, state / "jupyterhub.sqlite"
    if known.is_file() and known.read_text(encoding="ascii") == digest:
        return False
    if database.is_file():
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("DELETE FROM api_tokens WHERE session_id IS NOT NULL")
            connection.execute("DELETE FROM oauth_codes")
    # After the database: a run that dies in between is made up for.
    draft = known.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(digest, encoding="ascii")
    draft.replace(known)
    return True


def main() -> None:
    """End the sessions of another secret, as the hub's unit runs this."""
    secret = Path(os.environ["CREDENTIALS_DIRECTORY"]) / "cookie-secret"
    end_sessions(secret.read_bytes().strip(), Path(os.environ["STATE_DIRECTORY"]))


if __name__ == "__main__":
    main()
