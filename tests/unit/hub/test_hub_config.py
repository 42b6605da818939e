"""What the hub is told to do, seen through JupyterHub's own kind of configuration object."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest
from hub_example import hub_settings
from traitlets.config import Config

from appliance.hub.config import configure
from appliance.hub.log_in_tries import TriesAllowed

SECRETS = {"cookie-secret": "ab" * 32, "proxy-token": "of-the-proxy"}


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    for name, value in SECRETS.items():
        (tmp_path / name).write_text(f"{value}\n")
    return tmp_path


def configured(credentials: Path, **changes: object) -> Config:
    config = Config()
    configure(config, hub_settings(**changes), credentials, credentials)
    return config


def test_secrets_are_the_credentials_without_their_line_end(credentials: Path) -> None:
    config = configured(credentials)
    assert config.JupyterHub.cookie_secret == bytes.fromhex("ab" * 32)
    assert config.ConfigurableHTTPProxy.auth_token == "of-the-proxy"


def test_a_missing_credential_stops_the_hub(credentials: Path) -> None:
    (credentials / "proxy-token").unlink()
    with pytest.raises(FileNotFoundError, match="proxy-token"):
        configured(credentials)


def test_only_members_of_the_group_log_in_and_nobody_is_admin(credentials: Path) -> None:
    config = configured(credentials, researchers_group="climatologists")
    assert config.PAMAuthenticator.allowed_groups == {"climatologists"}
    assert "allow_all" not in config.Authenticator
    assert "admin_users" not in config.Authenticator


def test_researchers_and_their_servers_may_use_the_gateway_and_only_it(credentials: Path) -> None:
    roles = {role["name"]: set(role["scopes"]) for role in configured(credentials).JupyterHub.load_roles}
    gateway = "access:services!service=dask-gateway"
    assert roles == {
        "user": {"self", gateway},
        "server": {"users:activity!user", "access:servers!server", gateway},
        "forget-users": {"delete:users"},
    }


def test_the_hub_leads_to_no_service(credentials: Path) -> None:
    """What the gateway or a cluster shows would run on the hub's origin."""
    assert [service for service in configured(credentials).JupyterHub.services if "url" in service] == []


def test_the_gateway_has_no_token_of_its_own(credentials: Path) -> None:
    """The hub deletes a service that is not listed, and its tokens."""
    assert [service["name"] for service in configured(credentials).JupyterHub.services] == ["operator"]


def test_the_operators_token_is_roots_and_stays(credentials: Path) -> None:
    (service,) = [one for one in configured(credentials).JupyterHub.services if one["name"] == "operator"]
    path = credentials / "operator-token"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(service["api_token"]) == 64
    assert configured(credentials).JupyterHub.services[0]["api_token"] == path.read_text() == service["api_token"]
    roles = configured(credentials).JupyterHub.load_roles
    assert [role["name"] for role in roles if "services" in role] == ["forget-users"]


def test_servers_and_proxy_outlive_a_restart_of_the_hub(credentials: Path) -> None:
    config = configured(credentials)
    assert config.JupyterHub.cleanup_servers is False
    assert config.JupyterHub.cleanup_proxy is False
    assert config.ConfigurableHTTPProxy.should_start is False


def test_inner_listeners_are_on_loopback(credentials: Path) -> None:
    config = configured(credentials, hub_port=9081, proxy_api_port=9001, proxy_port=9000)
    assert config.JupyterHub.hub_bind_url == "http://127.0.0.1:9081"
    assert config.ConfigurableHTTPProxy.api_url == "http://127.0.0.1:9001"
    assert config.JupyterHub.bind_url == "http://127.0.0.1:9000"


def test_the_log_in_page_shows_the_site_name_as_text_and_not_as_markup(credentials: Path) -> None:
    config = configured(credentials, site_name="<b>A & B</b>")
    # As JupyterHub looks for templates: the site's first, and its own under "templates/".
    own = jinja2.DictLoader({"login.html": "{% block announcement %}old{% endblock %}<form>"})
    sites = jinja2.FileSystemLoader(config.JupyterHub.template_paths)
    loader = jinja2.ChoiceLoader([jinja2.PrefixLoader({"templates": own}), sites])
    pages = jinja2.Environment(loader=loader, autoescape=True)
    page = pages.get_template("login.html").render(config.JupyterHub.template_vars)
    assert "<h1>&lt;b&gt;A &amp; B&lt;/b&gt;</h1>" in page
    assert "<form>" in page
    assert "old" not in page


def test_cookies_are_for_the_sites_own_pages_and_tokens_end(credentials: Path) -> None:
    config = configured(credentials, token_days=2)
    assert config.JupyterHub.tornado_settings["cookie_options"] == {"samesite": "Lax", "secure": True}
    assert config.JupyterHub.token_expires_in_max_seconds == 2 * 24 * 3600


def test_tries_to_log_in_are_limited_as_the_site_says(credentials: Path) -> None:
    config = configured(credentials, log_in_seconds=60, log_in_tries=2, log_in_tries_of_name=3)
    assert config.FacilityAuthenticator.tries_allowed == TriesAllowed(
        seconds=60, per_name_and_address=2, per_name=3, per_address=100
    )


def test_browsers_come_by_the_public_address_and_servers_have_names_of_their_own(credentials: Path) -> None:
    config = configured(credentials).JupyterHub
    assert config.public_url == "https://hub.rack.test/"
    assert config.subdomain_host == "https://hub.rack.test"
    assert config.cookie_host_prefix_enabled is True
    shared = configured(credentials, subdomains=False).JupyterHub
    assert "subdomain_host" not in shared
    assert "cookie_host_prefix_enabled" not in shared
