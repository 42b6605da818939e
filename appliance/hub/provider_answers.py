"""What a provider has answered, judged before it is used. Without JupyterHub, whose package not every machine has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

HTTPS = r"https://[^\s/:]+(:[0-9]{1,5})?(/\S*)?"
_SHOWN_CHARACTERS = 200


class UnfitProviderError(ValueError):
    """A provider's answer that cannot be used; the message says in plain words what is wrong with it."""


@dataclass(frozen=True)
class Addresses:
    """Where a provider is asked, all over TLS: for a log-in, for a token, and for what it knows of somebody."""

    authorize: str
    token: str
    userdata: str


def addresses(issuer: str, told: Any) -> Addresses:
    """Return the addresses that a provider's answer names (OpenID Connect Discovery 1.0, sections 3 and 4.3).

    Args:
        issuer: the provider's, as the facility is told. An answer of another issuer must not be used.
        told: the answer, as parsed JSON of any kind.

    Raises:
        UnfitProviderError: it is of another issuer, lacks an address, or names one that is not https.
    """
    if not isinstance(told, dict):
        raise UnfitProviderError("it does not name its addresses")
    if told.get("issuer") != issuer:
        raise UnfitProviderError(
            f"it calls itself {_shown(told.get('issuer'))}, and jupyterhub_oidc_issuer is {_shown(issuer)}"
        )
    found = []
    for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint"):
        value = told.get(name)
        if not (isinstance(value, str) and re.fullmatch(HTTPS, value)):
            raise UnfitProviderError(f"its {name} is {_shown(value)}, which is no address that begins with https://")
        found.append(value)
    return Addresses(*found)


def mapped(groups: Mapping[str, str], theirs: Iterable[str]) -> list[str]:
    """Return the facility's groups for those of a provider, sorted; others have none here."""
    return sorted({groups[name] for name in theirs if name in groups})


def _shown(value: object) -> str:
    return repr(value)[:_SHOWN_CHARACTERS]
