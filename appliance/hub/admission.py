"""Whom the machine lets in today, where somebody else has said who they are."""

from __future__ import annotations

import datetime
import grp
import os
import subprocess

from appliance.researcher.account import NotAResearcherError, researcher_account

_EXPIRES = 7  # the field of /etc/shadow that says on which day an account ends (shadow(5))


def is_admitted(name: str, researchers_group: str, uid_min: int, uid_max: int) -> bool:
    """Whether an account is a researcher's, and open: role `accounts` closes those of the locked.

    Raises:
        KeyError: the machine has no group of researchers.
        subprocess.CalledProcessError: the account has no entry among the passwords.
    """
    try:
        account = researcher_account(name, uid_min, uid_max)
    except NotAResearcherError:
        return False
    group = grp.getgrnam(researchers_group).gr_gid
    return group in os.getgrouplist(name, account.pw_gid) and not has_expired(name)


def has_expired(name: str) -> bool:
    """Whether the account has ended (shadow(5)): on its last day it has."""
    shadow = subprocess.run(["getent", "shadow", name], capture_output=True, text=True, check=True).stdout
    day = shadow.strip().split(":")[_EXPIRES]
    today = (datetime.datetime.now(datetime.UTC).date() - datetime.date(1970, 1, 1)).days
    return bool(day) and int(day) <= today
