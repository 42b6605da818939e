"""Only users of the facility get answers: from a client's keys over the service to the gateway, over real sockets."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from clocks import START, TimeOfDay
from gateway_users import GatewayUsers
from recorded_objects import FixedMap
from served import Served, served

from appliance.placement import MapClient, PlacementUnavailable
from appliance.placement.auth.sigv4 import Keys
from appliance.placement.auth.tokens import HOST, LIFETIME, Token
from appliance.placement.errors import ClusterError
from appliance.placement.service import authentication
from appliance.placement.service.app import PlacementService
from appliance.placement.service.authentication import BELIEVED, Authenticator, TokenRefused
from appliance.placement.service.layout_lookup import LayoutLookup, ManifestSocket

ALICE = Keys("AKALICE", "alices-secret")


@pytest.fixture
def clock() -> TimeOfDay:
    return TimeOfDay()


@pytest.fixture
def gateway() -> Iterator[GatewayUsers]:
    made = GatewayUsers(AKALICE=("alice", "alices-secret"), AKLAB=("lab$carol", "carols-secret"))
    yield made
    made.close()


@pytest.fixture
def authenticator(gateway: GatewayUsers, clock: TimeOfDay) -> Authenticator:
    return Authenticator(gateway.endpoint, timeout=2, clock=clock)


def header(keys: Keys = ALICE, moment: datetime = START) -> str:
    return Token.of(keys, moment).header()


def test_a_users_token_is_taken_and_the_gateway_asked_once(
    authenticator: Authenticator, gateway: GatewayUsers, clock: TimeOfDay
) -> None:
    assert authenticator.cached_user(header()) is None
    assert authenticator.authenticate(header()) == "alice"
    assert authenticator.cached_user(header()) == "alice"
    assert authenticator.authenticate(header(Keys("AKLAB", "carols-secret"))) == "lab$carol"
    assert gateway.asked == [("GET", "/", HOST)] * 2
    clock.passes(BELIEVED - 1)
    assert authenticator.cached_user(header()) == "alice"


def test_a_verdict_holds_for_a_while_and_a_removed_user_is_out_then(
    authenticator: Authenticator, gateway: GatewayUsers, clock: TimeOfDay
) -> None:
    authenticator.authenticate(header())
    del gateway.users["AKALICE"]
    assert authenticator.cached_user(header()) == "alice"
    clock.passes(BELIEVED)
    assert authenticator.cached_user(header()) is None
    with pytest.raises(TokenRefused, match="InvalidAccessKeyId"):
        authenticator.authenticate(header())


def test_no_verdict_outlives_its_token(authenticator: Authenticator, gateway: GatewayUsers, clock: TimeOfDay) -> None:
    clock.passes(LIFETIME - 10)
    assert authenticator.authenticate(header()) == "alice"
    clock.passes(10)
    assert authenticator.cached_user(header()) is None
    clock.passes(1)
    with pytest.raises(TokenRefused, match="901 s ago by this machine's clock, and lasts for 900 s"):
        authenticator.authenticate(header())
    assert len(gateway.asked) == 1, "the gateway is not asked of what is plainly too old"


def test_a_token_of_the_far_future_is_refused(authenticator: Authenticator, gateway: GatewayUsers) -> None:
    assert authenticator.authenticate(header(moment=START + timedelta(seconds=600))) == "alice", "clocks differ"
    with pytest.raises(TokenRefused, match="3600 s ahead"):
        authenticator.authenticate(header(moment=START + timedelta(hours=1)))
    assert len(gateway.asked) == 1


@pytest.mark.parametrize(
    ("keys", "code"),
    [(Keys("AKNOBODY", "alices-secret"), "InvalidAccessKeyId"), (Keys("AKALICE", "guessed"), "SignatureDoesNotMatch")],
)
def test_wrong_keys_are_refused_each_time(
    authenticator: Authenticator, gateway: GatewayUsers, keys: Keys, code: str
) -> None:
    for _ in range(2):
        with pytest.raises(TokenRefused, match=code):
            authenticator.authenticate(header(keys))
        assert authenticator.cached_user(header(keys)) is None
    assert len(gateway.asked) == 2


@pytest.mark.parametrize("part", ["access", "stamp", "signature"])
def test_a_token_that_was_tampered_with_is_refused(authenticator: Authenticator, part: str) -> None:
    made = Token.of(ALICE, START)
    other = {
        "access": "AKLAB",
        "stamp": "20261121T120001Z",
        "signature": made.signature[:-1] + "0f"[made.signature[-1] == "0"],
    }
    with pytest.raises(TokenRefused, match="SignatureDoesNotMatch"):
        authenticator.authenticate(replace(made, **{part: other[part]}).header())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Bearer abc",
        "Appliance-S3 ",
        "Appliance-S3 AKALICE/20261121T120000Z/" + "g" * 64,
        "Appliance-S3 AK\r\nX: y/20261121T120000Z/" + "0" * 64,
        "Appliance-S3 AK, SignedHeaders=host/20261121T120000Z/" + "0" * 64,
        "Appliance-S3 AK/ALICE/20261121T120000Z/" + "0" * 64,
        "Appliance-S3 AKALICE/20261341T990000Z/" + "0" * 64,
        "Appliance-S3 AKALICE/20261121T120000Z/" + "0" * 64 + " more",
        "AWS4-HMAC-SHA256 Credential=AKALICE/20261121/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00",
    ],
)
def test_what_is_no_token_never_reaches_the_gateway(
    authenticator: Authenticator, gateway: GatewayUsers, text: str
) -> None:
    with pytest.raises(TokenRefused, match="token"):
        authenticator.authenticate(text)
    assert gateway.asked == []


def test_a_signature_for_another_host_is_no_token(
    authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that a user made for S3 itself, overheard on its way."""
    with monkeypatch.context() as patched:
        patched.setattr("appliance.placement.auth.tokens.HOST", "127.0.0.1:7481")
        overheard = header()
    with pytest.raises(TokenRefused, match="SignatureDoesNotMatch"):
        authenticator.authenticate(overheard)


@pytest.mark.parametrize("owner", ["anonymous", ""])
def test_nobody_is_no_user(authenticator: Authenticator, gateway: GatewayUsers, owner: str) -> None:
    gateway.body = f"<ListAllMyBucketsResult><Owner><ID>{owner}</ID></Owner></ListAllMyBucketsResult>"
    with pytest.raises(TokenRefused, match="names no user"):
        authenticator.authenticate(header())


@pytest.mark.parametrize("body", ["ID", "<html>", '{"Owner": {"ID": "alice"}}', "<Owner><ID>alice</ID></Owner>"])
def test_a_page_that_is_no_list_of_buckets_names_nobody(
    authenticator: Authenticator, gateway: GatewayUsers, body: str
) -> None:
    gateway.body = body
    with pytest.raises(TokenRefused, match="names no user"):
        authenticator.authenticate(header())


def test_a_user_of_thousands_of_buckets_is_read_from_the_beginning(
    authenticator: Authenticator, gateway: GatewayUsers
) -> None:
    gateway.buckets = 20_000
    assert authenticator.authenticate(header()) == "alice"


def test_while_the_gateway_cannot_be_asked_known_tokens_go_on(
    authenticator: Authenticator, gateway: GatewayUsers, clock: TimeOfDay
) -> None:
    authenticator.authenticate(header())
    gateway.status = 503
    with pytest.raises(ClusterError, match="answered 503"):
        authenticator.authenticate(header(moment=START + timedelta(seconds=1)))
    assert authenticator.failure is not None
    assert authenticator.cached_user(header()) == "alice"
    gateway.status = 200
    clock.passes(1)
    assert authenticator.authenticate(header(moment=START + timedelta(seconds=1))) == "alice"
    assert authenticator.failure is None


def test_a_gateway_that_is_not_there_is_named(clock: TimeOfDay) -> None:
    with pytest.raises(ClusterError, match=r"http://127.0.0.1:9 does not say whose token it is: .*refused"):
        Authenticator("http://127.0.0.1:9", clock=clock).authenticate(header())


def test_the_memory_is_bounded_and_holds_no_tokens(
    authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "REMEMBERED", 2)
    made = [header(moment=START + timedelta(seconds=number)) for number in range(3)]
    for one in made:
        authenticator.authenticate(one)
    assert [authenticator.cached_user(one) for one in made] == [None, "alice", "alice"]
    last = Token.parse(made[-1])
    assert last is not None
    assert not any(last.signature in repr(entry) for entry in vars(authenticator).values())
    assert last.signature not in repr(last)


@pytest.fixture
def running(gateway: GatewayUsers) -> Iterator[Served]:
    """A service with a map, which asks the gateway who its callers are."""
    service = PlacementService(
        FixedMap(), LayoutLookup(ManifestSocket(Path("/nowhere")), {}), Authenticator(gateway.endpoint)
    )
    with served(service) as running:
        yield running


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/map"), ("GET", "/v1/map?bucket=x"), ("POST", "/v1/layouts")])
def test_without_a_good_token_there_is_no_answer(
    running: Served, gateway: GatewayUsers, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    caplog.set_level(logging.DEBUG)
    status, headers, body = running.request(path, method)
    assert (status, headers["Www-Authenticate"]) == (401, "Appliance-S3")
    assert "only users of the facility" in json.loads(body)["error"]
    bad = Token.of(Keys("AKALICE", "guessed"), datetime.now(UTC))
    status, _, body = running.request(path, method, {"Authorization": bad.header()})
    assert (status, json.loads(body)) == (401, {"error": "the gateway does not take the token (SignatureDoesNotMatch)"})
    gateway.status = 500
    status, headers, body = running.request(path, method, {"Authorization": bad.header()})
    assert (status, headers["Retry-After"]) == (503, "2")
    assert "answered 500" in json.loads(body)["error"]
    assert "answered 500" in json.loads(running.request("/healthz")[2])["callers_failure"]
    assert bad.signature not in caplog.text


def test_health_and_figures_are_told_to_everybody(running: Served) -> None:
    assert running.request("/healthz")[0] == 503, "the map of this test was never confirmed"
    status, _, body = running.request("/metrics")
    assert status == 200
    assert b'appliance_placement_tokens_total{result="accepted"} 0' in body


def test_a_client_with_keys_gets_the_map_and_layouts(running: Served, gateway: GatewayUsers) -> None:
    maps = MapClient(running.url, keys=lambda: ALICE)
    assert maps.get().epoch == 42
    assert maps.layouts("alice", [("k", "", "e")]) == [None]
    assert len(gateway.asked) == 1


def test_a_client_whose_keys_were_renewed_signs_anew_at_once(
    running: Served, gateway: GatewayUsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "BELIEVED", 0)
    held = [ALICE]
    maps = MapClient(running.url, max_age=0, keys=lambda: held[0])
    maps.get()
    gateway.users["AKNEW"] = gateway.users.pop("AKALICE")
    held[0] = Keys("AKNEW", "alices-secret")
    assert maps.get().epoch == 42


def test_a_client_without_keys_says_what_to_set(running: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PlacementUnavailable, match="users of the facility only, and there are no S3 keys: set AWS_SH"):
        MapClient(running.url).get()


def test_a_client_with_wrong_keys_is_told_what_the_gateway_says(running: Served, gateway: GatewayUsers) -> None:
    with pytest.raises(PlacementUnavailable, match=r"401 Unauthorized.*SignatureDoesNotMatch"):
        MapClient(running.url, keys=lambda: Keys("AKALICE", "guessed")).get()
    assert len(gateway.asked) == 2, "once more with a new token, since keys may have been renewed"
