"""Only users of the facility get answers: from a client's keys over the service to the gateway, over real sockets."""

import http.client
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gateway_users import GatewayUsers
from recorded_objects import FixedMap
from served import served

from appliance.placement import MapClient, PlacementUnavailable
from appliance.placement import callers as callers_room
from appliance.placement.callers import BELIEVED, Callers, Refused
from appliance.placement.errors import ClusterError
from appliance.placement.layouts import Layouts, Reader
from appliance.placement.service import Service
from appliance.placement.signature import Keys
from appliance.placement.tokens import HOST, LIFETIME, RENEW, Token, Tokens

START = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
ALICE = Keys("AKALICE", "alices-secret")


class Clock:
    """The time of day, which passes when a test says so."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now.timestamp()

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gateway() -> Iterator[GatewayUsers]:
    made = GatewayUsers(AKALICE=("alice", "alices-secret"), AKLAB=("lab$carol", "carols-secret"))
    yield made
    made.close()


@pytest.fixture
def callers(gateway: GatewayUsers, clock: Clock) -> Callers:
    return Callers(gateway.endpoint, timeout=2, clock=clock)


def header(keys: Keys = ALICE, moment: datetime = START) -> str:
    return Token.of(keys, moment).header()


def test_a_users_token_is_taken_and_the_gateway_asked_once(
    callers: Callers, gateway: GatewayUsers, clock: Clock
) -> None:
    assert callers.known(header()) is None
    assert callers.ask(header()) == "alice"
    assert callers.known(header()) == "alice"
    assert callers.ask(header(Keys("AKLAB", "carols-secret"))) == "lab$carol"
    assert gateway.asked == [("GET", "/", HOST)] * 2
    clock.passes(BELIEVED - 1)
    assert callers.known(header()) == "alice"


def test_a_verdict_holds_for_a_while_and_a_removed_user_is_out_then(
    callers: Callers, gateway: GatewayUsers, clock: Clock
) -> None:
    callers.ask(header())
    del gateway.users["AKALICE"]
    assert callers.known(header()) == "alice"
    clock.passes(BELIEVED)
    assert callers.known(header()) is None
    with pytest.raises(Refused, match="InvalidAccessKeyId"):
        callers.ask(header())


def test_no_verdict_outlives_its_token(callers: Callers, gateway: GatewayUsers, clock: Clock) -> None:
    clock.passes(LIFETIME - 10)
    assert callers.ask(header()) == "alice"
    clock.passes(10)
    assert callers.known(header()) is None
    clock.passes(1)
    with pytest.raises(Refused, match="901 s ago by this machine's clock, and lasts for 900 s"):
        callers.ask(header())
    assert len(gateway.asked) == 1, "the gateway is not asked of what is plainly too old"


def test_a_token_of_the_far_future_is_refused(callers: Callers, gateway: GatewayUsers) -> None:
    assert callers.ask(header(moment=START + timedelta(seconds=600))) == "alice", "clocks differ"
    with pytest.raises(Refused, match="3600 s ahead"):
        callers.ask(header(moment=START + timedelta(hours=1)))
    assert len(gateway.asked) == 1


@pytest.mark.parametrize(
    ("keys", "code"),
    [(Keys("AKNOBODY", "alices-secret"), "InvalidAccessKeyId"), (Keys("AKALICE", "guessed"), "SignatureDoesNotMatch")],
)
def test_wrong_keys_are_refused_each_time(callers: Callers, gateway: GatewayUsers, keys: Keys, code: str) -> None:
    for _ in range(2):
        with pytest.raises(Refused, match=code):
            callers.ask(header(keys))
        assert callers.known(header(keys)) is None
    assert len(gateway.asked) == 2


@pytest.mark.parametrize("part", ["access", "stamp", "found"])
def test_a_token_that_was_tampered_with_is_refused(callers: Callers, part: str) -> None:
    made = Token.of(ALICE, START)
    other = {"access": "AKLAB", "stamp": "20261121T120001Z", "found": made.found[:-1] + "0f"[made.found[-1] == "0"]}
    with pytest.raises(Refused, match="SignatureDoesNotMatch"):
        callers.ask(replace(made, **{part: other[part]}).header())


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
def test_what_is_no_token_never_reaches_the_gateway(callers: Callers, gateway: GatewayUsers, text: str) -> None:
    with pytest.raises(Refused, match="token"):
        callers.ask(text)
    assert gateway.asked == []


def test_a_signature_for_another_host_is_no_token(callers: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that a user made for S3 itself, overheard on its way."""
    with monkeypatch.context() as patched:
        patched.setattr("appliance.placement.tokens.HOST", "127.0.0.1:7481")
        overheard = header()
    with pytest.raises(Refused, match="SignatureDoesNotMatch"):
        callers.ask(overheard)


@pytest.mark.parametrize("owner", ["anonymous", ""])
def test_nobody_is_no_user(callers: Callers, gateway: GatewayUsers, owner: str) -> None:
    gateway.body = f"<ListAllMyBucketsResult><Owner><ID>{owner}</ID></Owner></ListAllMyBucketsResult>"
    with pytest.raises(Refused, match="names no user"):
        callers.ask(header())


@pytest.mark.parametrize("body", ["ID", "<html>", '{"Owner": {"ID": "alice"}}', "<Owner><ID>alice</ID></Owner>"])
def test_a_page_that_is_no_list_of_buckets_names_nobody(callers: Callers, gateway: GatewayUsers, body: str) -> None:
    gateway.body = body
    with pytest.raises(Refused, match="names no user"):
        callers.ask(header())


def test_a_user_of_thousands_of_buckets_is_read_from_the_beginning(callers: Callers, gateway: GatewayUsers) -> None:
    gateway.buckets = 20_000
    assert callers.ask(header()) == "alice"


def test_while_the_gateway_cannot_be_asked_known_tokens_go_on(
    callers: Callers, gateway: GatewayUsers, clock: Clock
) -> None:
    callers.ask(header())
    gateway.status = 503
    with pytest.raises(ClusterError, match="answered 503"):
        callers.ask(header(moment=START + timedelta(seconds=1)))
    assert callers.failure is not None
    assert callers.known(header()) == "alice"
    gateway.status = 200
    clock.passes(1)
    assert callers.ask(header(moment=START + timedelta(seconds=1))) == "alice"
    assert callers.failure is None


def test_a_gateway_that_is_not_there_is_named(clock: Clock) -> None:
    with pytest.raises(ClusterError, match=r"http://127.0.0.1:9 does not say whose token it is: .*refused"):
        Callers("http://127.0.0.1:9", clock=clock).ask(header())


def test_the_memory_is_bounded_and_holds_no_tokens(callers: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers_room, "REMEMBERED", 2)
    made = [header(moment=START + timedelta(seconds=number)) for number in range(3)]
    for one in made:
        callers.ask(one)
    assert [callers.known(one) for one in made] == [None, "alice", "alice"]
    last = Token.parse(made[-1])
    assert last is not None
    assert not any(last.found in repr(entry) for entry in vars(callers).values())
    assert last.found not in repr(last)


def test_a_token_is_used_for_a_while_then_made_anew_from_the_keys_there_are(clock: Clock) -> None:
    held = [ALICE]
    tokens = Tokens(lambda: held[0], clock=lambda: clock.now)
    first = tokens.headers()
    clock.passes(RENEW - 1)
    assert tokens.headers() == first
    clock.passes(1)
    assert tokens.headers() == {"Authorization": header(moment=clock.now)}
    held[0] = Keys("AKLAB", "carols-secret")
    assert tokens.headers(refused=True) == {"Authorization": header(held[0], clock.now)}
    clock.passes(-7200)  # the machine's clock was set
    assert tokens.headers() == {"Authorization": header(held[0], clock.now)}


@pytest.fixture
def url(gateway: GatewayUsers) -> Iterator[str]:
    """A service with a map, which asks the gateway who its callers are."""
    service = Service(FixedMap(), Layouts(Reader(None), {}), Callers(gateway.endpoint))  # type: ignore[arg-type]
    with served(service) as url:
        yield url


def answered(url: str, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/map"), ("GET", "/v1/map?bucket=x"), ("POST", "/v1/layouts")])
def test_without_a_good_token_there_is_no_answer(
    url: str, gateway: GatewayUsers, caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    caplog.set_level(logging.DEBUG)
    status, headers, body = answered(url, method, path)
    assert (status, headers["Www-Authenticate"]) == (401, "Appliance-S3")
    assert "only users of the facility" in json.loads(body)["error"]
    bad = Token.of(Keys("AKALICE", "guessed"), datetime.now(UTC))
    status, _, body = answered(url, method, path, Authorization=bad.header())
    assert (status, json.loads(body)) == (401, {"error": "the gateway does not take the token (SignatureDoesNotMatch)"})
    gateway.status = 500
    status, headers, body = answered(url, method, path, Authorization=bad.header())
    assert (status, headers["Retry-After"]) == (503, "2")
    assert "answered 500" in json.loads(body)["error"]
    assert "answered 500" in json.loads(answered(url, "GET", "/healthz")[2])["callers_failure"]
    assert bad.found not in caplog.text


def test_health_and_figures_are_told_to_everybody(url: str) -> None:
    assert answered(url, "GET", "/healthz")[0] == 503, "the map of this test was never confirmed"
    status, _, body = answered(url, "GET", "/metrics")
    assert status == 200
    assert b'appliance_placement_tokens_total{result="accepted"} 0' in body


def test_a_client_with_keys_gets_the_map_and_layouts(url: str, gateway: GatewayUsers) -> None:
    maps = MapClient(url, keys=lambda: ALICE)
    assert maps.get().epoch == 42
    assert maps.layouts("alice", [("k", "", "e")]) == [None]
    assert len(gateway.asked) == 1


def test_a_client_whose_keys_were_renewed_signs_anew_at_once(
    url: str, gateway: GatewayUsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers_room, "BELIEVED", 0)
    held = [ALICE]
    maps = MapClient(url, max_age=0, keys=lambda: held[0])
    maps.get()
    gateway.users["AKNEW"] = gateway.users.pop("AKALICE")
    held[0] = Keys("AKNEW", "alices-secret")
    assert maps.get().epoch == 42


def test_a_client_without_keys_says_what_to_set(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PlacementUnavailable, match="users of the facility only, and there are no S3 keys: set AWS_SH"):
        MapClient(url).get()


def test_a_client_with_wrong_keys_is_told_what_the_gateway_says(url: str, gateway: GatewayUsers) -> None:
    with pytest.raises(PlacementUnavailable, match=r"401 Unauthorized.*SignatureDoesNotMatch"):
        MapClient(url, keys=lambda: Keys("AKALICE", "guessed")).get()
    assert len(gateway.asked) == 2, "once more with a new token, since keys may have been renewed"
