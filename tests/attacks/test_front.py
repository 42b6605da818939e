"""Browsers come to the hub by one name and over TLS only, and what they are told guards a researcher's pages."""

from __future__ import annotations

import http.client
import socket
import ssl
import warnings
from urllib.parse import urlsplit

import pytest
from hub_session import HubSession
from machines import FACILITY, STORES, ask, run_on
from server_session import with_server

FRONT, FACTS = FACILITY.front, FACILITY.facts
NAME = str(urlsplit(FRONT.url).hostname)
PORT = int(FACTS["jupyterhub_public_port"])
TOLD_NOBODY = {"server", "x-powered-by", "x-jupyterhub-version"}
GUARDS = {
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
}


@pytest.fixture(scope="module")
def bob() -> HubSession:
    return with_server(FACILITY, "bob")


def asked_whole(host: str, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """Ask the front, which shows its certificate for the hub's name, for a path of some host."""
    connection = FRONT.connection(urlsplit(FRONT.url).netloc, timeout=30)
    connection.request(method, path, headers={"Host": host, **headers})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


def asked(host: str, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """Ask for a path of some host, and leave what the answer's body says."""
    return asked_whole(host, path, method, **headers)[0]


@pytest.mark.parametrize("path", ["/", "/hub/login?next=%2Fhub%2Fhome", "/user/bob/lab"])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_without_tls_nothing_is_answered_but_the_way_there(method: str, path: str) -> None:
    connection = http.client.HTTPConnection(FRONT.address, int(FACTS["https_front_redirect_port"]), timeout=30)
    connection.request(method, path, body="password=canary" if method == "POST" else None)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["location"]) == (301, f"{FRONT.url}{path}")
    assert answer.headers["set-cookie"] is None
    connection.close()


@pytest.mark.parametrize("where", ["front", "inside"])
def test_the_proxy_behind_the_front_is_reached_from_nowhere_else(where: str) -> None:
    port = FACTS["jupyterhub_proxy_port"]
    if where == "inside":
        # From another machine of the facility; on the head itself it answers.
        command = f"curl --silent --max-time 10 --noproxy '*' http://{FRONT.address}:{port}/hub/health"
        assert run_on(STORES[0], command).returncode == 7
        ask("head1", f"curl --silent --fail --noproxy '*' http://127.0.0.1:{port}/hub/health")
    else:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((FRONT.address, port), timeout=30)


def handshake(context: ssl.SSLContext) -> str:
    """Return the version of TLS that the front agrees to."""
    with (
        socket.create_connection((FRONT.address, PORT), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as connection,
    ):
        return str(connection.version())


def only(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=FRONT.authority)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    # Else it is this side that refuses the old ones.
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_of_tls_are_refused(version: ssl.TLSVersion) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version"):
        handshake(only(version))


@pytest.mark.parametrize(
    ("version", "name"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)
def test_current_versions_of_tls_are_taken(version: ssl.TLSVersion, name: str) -> None:
    assert handshake(only(version)) == name


def test_keys_without_forward_secrecy_are_refused() -> None:
    context = only(ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("kRSA:AES128-SHA:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)handshake failure"):
        handshake(context)


def test_the_certificate_is_for_the_hubs_names_and_of_the_facilitys_authority() -> None:
    context = ssl.create_default_context(cadata=FRONT.authority)
    for name in (NAME, f"bob.{NAME}"):
        with (
            socket.create_connection((FRONT.address, PORT), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname=name),
        ):
            pass
    for name in (f"a.b.{NAME}", "elsewhere.test"):
        with (
            socket.create_connection((FRONT.address, PORT), timeout=30) as plain,
            pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"),
        ):
            context.wrap_socket(plain, server_hostname=name)
    # Without the authority, as a browser that was not told of it.
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(ssl.create_default_context())


@pytest.mark.parametrize(
    "host", ["elsewhere.test", f"{NAME}.elsewhere.test", f"a.b.{NAME}", FRONT.address, "localhost"]
)
def test_another_name_that_leads_here_gets_no_answer_of_the_hub(host: str) -> None:
    assert asked(host, "/hub/login").status == 421
    assert asked(NAME, "/hub/login").status == 200


@pytest.mark.parametrize("path", ["/hub/login", "/", "/hub/nothing-here", "/hub/static/nothing", "/hub/api/users"])
def test_every_answer_of_the_hub_has_the_guards_and_tells_no_version(path: str) -> None:
    judge(asked(NAME, path))


@pytest.mark.parametrize(
    "path", ["/user/bob/lab", "/user/bob/api/status", "/user/bob/nothing", "/user/bob/api/kernels"]
)
@pytest.mark.usefixtures("bob")
def test_every_answer_of_a_server_has_the_guards_and_tells_no_version(path: str) -> None:
    judge(asked(urlsplit(FRONT.of("bob")).netloc, path))


def judge(answer: http.client.HTTPResponse) -> None:
    assert {name: answer.headers[name] for name in GUARDS} == GUARDS
    assert TOLD_NOBODY & {name.lower() for name in answer.headers} == set()


@pytest.mark.parametrize(
    "path", ["/hub/api", "/hub/api/", "/hub/api/?x", "//hub/api/", "/hub//api//", "/hub/./api/", "/hub/%61pi/"]
)
def test_the_hubs_version_is_told_to_no_stranger(path: str) -> None:
    answer = asked(NAME, path)
    assert answer.status in (302, 400, 403, 404), answer.status


@pytest.mark.parametrize("path", ["api", "api/", "api?x", "./api", "%61pi", "api/."])
def test_a_servers_version_is_told_to_its_owner_alone(bob: HubSession, path: str) -> None:
    assert b"version" in bob.ask("/user/bob/api")
    host = urlsplit(FRONT.of("bob")).hostname
    answer, body = asked_whole(str(host), f"/user/bob/{path}")
    assert answer.status in (302, 400, 403, 404), answer.status
    assert b"version" not in body


def test_cookies_go_over_tls_alone_and_to_no_script(bob: HubSession) -> None:
    cookies = {(cookie.name, cookie.domain): cookie for cookie in bob.jar}
    assert {name for name, _ in cookies} >= {"__Host-jupyterhub-hub-login", "__Host-jupyterhub-user-bob", "_xsrf"}
    assert [key for key, cookie in cookies.items() if not cookie.secure] == []
    # The one that a page's own scripts send back.
    told = {name for (name, _), cookie in cookies.items() if not cookie.has_nonstandard_attr("HttpOnly")}
    assert told <= {"_xsrf"}
    # It opens nothing: the hub tells by it which log-ins of a browser end together.
    assert {name for (name, _), cookie in cookies.items() if cookie.domain_specified} <= {"jupyterhub-session-id"}
