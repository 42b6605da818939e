"""JupyterHub's own configuration, made of the site's settings.

Every value is set, none is appended to or mutated, so that what a hub does can be read here alone. Secrets come as
systemd credentials: they are in no settings file, no environment and no command line.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from appliance.hub.log_in import configure_log_in
from appliance.hub.settings import HubSettings
from appliance.researcher.environment import GATEWAY_SERVICE

TEMPLATES = Path(__file__).parent / "templates"
PROVIDER = Path("/etc/jupyterhub/provider.json")  # of who checks log-ins, where this machine does not
DAY = 24 * 60 * 60  # s

# The service as which the operator's own programs on this machine forget who was locked (plugins/modules/hub_users.py).
_OPERATOR = "operator"
# Researchers, and the tokens of their servers, may use the gateway's service and no other.
_GATEWAY_SCOPE = f"access:services!service={GATEWAY_SERVICE}"


def configure(c: Any, settings: HubSettings, credentials: Path, state: Path) -> None:
    """Set JupyterHub's configuration object ``c``.

    Args:
        c: the configuration object.
        settings: the site's.
        credentials: holds the files ``cookie-secret`` (64 hex digits) and ``proxy-token``.
        state: the directory of the hub's database and of the operator's token.

    Raises:
        OSError: a credential is missing.
    """
    c.JupyterHub.bind_url = f"http://127.0.0.1:{settings.proxy_port}"
    # Cookies are sent over TLS alone, since this is what browsers see; the front tells who they are.
    c.JupyterHub.public_url = f"{settings.public_url}/"
    c.JupyterHub.trusted_downstream_ips = ["127.0.0.1"]
    if settings.subdomains:
        c.JupyterHub.subdomain_host = settings.public_url
        c.JupyterHub.cookie_host_prefix_enabled = True
    c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{settings.hub_port}"
    c.JupyterHub.db_url = f"sqlite:///{state}/jupyterhub.sqlite"
    c.JupyterHub.cookie_secret = bytes.fromhex(_secret(credentials, "cookie-secret"))
    c.JupyterHub.template_paths = [str(TEMPLATES)]
    c.JupyterHub.template_vars = {"site_name": settings.site_name}

    # The proxy is a unit of its own and notebooks are units of their own: a restarted hub finds both again.
    c.JupyterHub.cleanup_servers = False
    c.JupyterHub.cleanup_proxy = False
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{settings.proxy_api_port}"
    c.ConfigurableHTTPProxy.auth_token = _secret(credentials, "proxy-token")

    # Nothing that another site links to is done with a browser's cookies. Servers set theirs alike.
    c.JupyterHub.tornado_settings = {"cookie_options": {"samesite": "Lax", "secure": True}}
    c.JupyterHub.token_expires_in_max_seconds = settings.token_days * DAY

    configure_log_in(c, settings, credentials, PROVIDER)

    # The gateway is none of them, for it shows the hub nothing but the tokens of those who ask it: what stands in the
    # scopes is only a name. The hub deletes services that are not listed, with their tokens.
    c.JupyterHub.services = [
        {"name": _OPERATOR, "api_token": _operator_token(state / "operator-token"), "display": False},
    ]
    c.JupyterHub.load_roles = [
        {"name": "user", "scopes": ["self", _GATEWAY_SCOPE]},
        {"name": "server", "scopes": ["users:activity!user", "access:servers!server", _GATEWAY_SCOPE]},
        # To forget a researcher: servers, tokens and sessions end, and nothing can be read or started.
        {"name": "forget-users", "scopes": ["delete:users"], "services": [_OPERATOR]},
    ]

    c.JupyterHub.spawner_class = "appliance.hub.spawner.NotebookSpawner"
    c.NotebookSpawner.settings = settings
    c.NotebookSpawner.mem_limit = settings.memory_limit
    c.NotebookSpawner.cpu_limit = settings.cpu_limit
    c.NotebookSpawner.default_url = "/lab"
    c.NotebookSpawner.start_timeout = 60
    c.NotebookSpawner.http_timeout = 120


def _operator_token(path: Path) -> str:
    """Return the operator's token, made on first use, in the hub's own directory where root alone reads it."""
    if not path.exists():
        # Whole or not at all: with an empty token, the operator's programs would be refused from then on.
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32), encoding="ascii")
        draft.replace(path)
    return path.read_text(encoding="ascii").strip()


def _secret(credentials: Path, name: str) -> str:
    return (credentials / name).read_text(encoding="ascii").strip()
