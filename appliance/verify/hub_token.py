"""A researcher's token, made on the hub's own machine by root: where people log in elsewhere, no password is known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from jupyterhub import orm, roles


@contextmanager
def token_of(user: str, seconds: int, database: Path) -> Iterator[str]:
    """Yield a token of ``user`` that ends after ``seconds``, or with the block; as `jupyterhub token` makes one.

    Args:
        user: the name; the hub comes to know it if nobody of that name has logged in yet.
        seconds: for how long the token holds.
        database: the hub's, in SQLite.

    Raises:
        FileNotFoundError: there is no database.
    """
    if not database.is_file():
        raise FileNotFoundError(f"{database}: the hub has no database on this machine")
    with closing(orm.new_session_factory(f"sqlite:///{database}")()) as session:
        owner = orm.User.find(session, user)
        if owner is None:
            owner = orm.User(name=user)
            session.add(owner)
            roles.assign_default_roles(session, entity=owner)
        text = owner.new_api_token(note="facility check", expires_in=seconds)
        try:
            yield text
        finally:
            session.delete(orm.APIToken.find(session, text))
            session.commit()
