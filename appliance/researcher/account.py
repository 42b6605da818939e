"""Which accounts of a machine are researchers'.

The limits of a researcher's uid are a fact of the site (``accounts_uid_min``, ``accounts_uid_max``): roles write them
into the settings of each program that starts something for a researcher. Names are judged by the preflight; these
programs only take names of accounts that exist.
"""

from __future__ import annotations

import pwd


class NotAResearcherError(Exception):
    """A name is no researcher's; the message says why."""


def researcher_account(name: str, uid_min: int, uid_max: int) -> pwd.struct_passwd:
    """Return a researcher's account on this machine, as it is now.

    Args:
        name: the account's name, from any origin.
        uid_min: the least uid of a researcher. Below are the system's accounts and the operators'.
        uid_max: the greatest. Above are those that systemd gives to services.

    Raises:
        NotAResearcherError: there is no such account, or it is not a researcher's.
    """
    try:
        account = pwd.getpwnam(name)
    except (KeyError, ValueError):  # ValueError: a text that cannot be an account's name
        raise NotAResearcherError(f"{name!r} does not exist on this machine") from None
    if account.pw_name != name:
        raise NotAResearcherError(f"{name!r} is another name of {account.pw_name!r}")
    if not uid_min <= account.pw_uid <= uid_max or account.pw_gid == 0:
        raise NotAResearcherError(
            f"{name!r} has uid {account.pw_uid} and gid {account.pw_gid}; "
            f"researchers have uids from {uid_min} to {uid_max}"
        )
    return account
