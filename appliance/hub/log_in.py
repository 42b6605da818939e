"""How researchers log in, as JupyterHub's configuration."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from appliance.hub.log_in_tries import TriesAllowed
from appliance.hub.provider_answers import mapped
from appliance.hub.provider_settings import LdapSettings, OidcSettings, from_file
from appliance.hub.settings import HubSettings

PASSWORDS = 16  # looked at together: PAM takes seconds to refuse one, and others would wait behind a few wrong ones


def configure_log_in(c: Any, settings: HubSettings, credentials: Path, provider: Path) -> None:
    """Set what JupyterHub's configuration object ``c`` says of log-ins.

    Args:
        c: the configuration object.
        settings: the site's.
        credentials: holds the file ``provider-secret`` where there is an OpenID Connect provider.
        provider: the file of the provider's settings.

    Raises:
        OSError: a file is missing.
        FaultyError: the provider's settings have a fault.
    """
    if settings.log_in == "pam":
        c.JupyterHub.authenticator_class = "appliance.hub.authenticator.FacilityAuthenticator"
        c.FacilityAuthenticator.executor_threads = PASSWORDS
        c.FacilityAuthenticator.tries_allowed = _tries(settings)
        c.PAMAuthenticator.service = "jupyterhub"
        c.PAMAuthenticator.open_sessions = False
        c.PAMAuthenticator.allowed_groups = {settings.researchers_group}
        return
    told = from_file(settings.log_in, provider)
    if isinstance(told, LdapSettings):
        c.JupyterHub.authenticator_class = "appliance.hub.providers.DirectoryAuthenticator"
        section = c.DirectoryAuthenticator
        section.tries_allowed = _tries(settings)
        _directory(section, told)
    else:
        c.JupyterHub.authenticator_class = "appliance.hub.providers.ProviderAuthenticator"
        section = c.ProviderAuthenticator
        _provider(section, told, (credentials / "provider-secret").read_text(encoding="ascii").strip(), settings)
    # Whom the machine knows: a provider knows many others.
    section.researchers_group = settings.researchers_group
    section.uid_min, section.uid_max = settings.uid_min, settings.uid_max
    section.manage_groups = True


def _tries(settings: HubSettings) -> TriesAllowed:
    return TriesAllowed(
        seconds=settings.log_in_seconds,
        per_name_and_address=settings.log_in_tries,
        per_name=settings.log_in_tries_of_name,
        per_address=settings.log_in_tries_from_address,
    )


def _directory(section: Any, told: LdapSettings) -> None:
    section.server_address, section.server_port = told.server, told.port
    section.tls_strategy = told.tls
    section.tls_kwargs = {"validate": ssl.CERT_REQUIRED, "ca_certs_file": told.authority or None}
    section.bind_dn_template = [told.user_dn]
    section.group_search_filter = told.group_filter
    # The directory is asked for each of them; whom they let in is not for it to say.
    section.allowed_groups = sorted(told.groups)
    section.group_attributes = ["objectClass"]  # one that every entry has: whether it is found is all that is asked
    section.groups = dict(told.groups)


def _provider(section: Any, told: OidcSettings, secret: str, settings: HubSettings) -> None:
    section.login_service, section.issuer = told.name, told.issuer
    section.client_id, section.client_secret = told.client_id, secret
    section.oauth_callback_url = f"{settings.public_url}/hub/oauth_callback"
    section.username_claim, section.scope = told.username_claim, list(told.scopes)
    # No redirect is followed: it could lead from an address that was judged to one in clear.
    authority = {"ca_certs": told.authority} if told.authority else {}
    section.http_request_kwargs = {"follow_redirects": False, **authority}
    claim, groups = told.groups_claim, dict(told.groups)

    def of(state: dict[str, Any]) -> set[str]:
        return set(mapped(groups, state["oauth_user"].get(claim) or []))

    section.auth_state_groups_key = of
