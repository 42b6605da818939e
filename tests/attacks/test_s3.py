"""Bob at the S3 endpoint, from his own process and with his own keys: nothing of alice's, nothing of the operators'.

What alice's buckets hold is compared after each way: a refusal that changes something is none.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from machines import STORES, ask
from s3_apis import ADMIN, OFF
from s3_requests import Request, signed
from s3_scene import HOST, SECRET, Answer, Person, Scene, scene
from s3_ways import NAMES, OPEN_POLICY, SOURCES, SPELLINGS, Way, ways

from appliance.placement.auth.sigv4 import Keys

# All that the operators' interface knows of rights.
RIGHTS = (
    *("users", "buckets", "metadata", "usage", "info", "zone", "mdlog", "bilog", "datalog", "ratelimit", "accounts"),
    *("roles", "user-policy", "oidc-provider"),
)


@pytest.fixture(scope="module")
def there() -> Iterator[Scene]:
    with scene() as made:
        yield made


def told(there: Scene, asker: str, way: Way) -> Answer:
    """What alice or bob is told for a way, with their own keys."""
    person = there.alice if asker == "alice" else there.bob
    headers = {name: there.fill(value, asker) for name, value in way.headers.items()}
    host = headers.pop("host", HOST)
    request = Request(way.method, there.fill(way.target, asker), headers, there.fill(way.body, asker).encode())
    return person.send(signed(person.signing(host=host), request))[0]


@pytest.mark.parametrize("way", [pytest.param(way, id=way.name) for way in ways()])
def test_bob_is_refused(there: Scene, way: Way) -> None:
    assert told(there, "bob", way).said == way.said
    assert there.seen() == there.state
    assert told(there, "alice", way).status == way.owner
    if way.method not in ("GET", "HEAD"):
        there.prepare()


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_other_name_of_an_object_opens_it(there: Scene, spelling: str) -> None:
    target, headers, owner = SPELLINGS[spelling]
    answer = told(there, "bob", Way(spelling, "GET", target, headers))
    assert answer.status in (400, 403, 404, 405)
    assert SECRET not in answer.body
    # Names that are none open it to nobody.
    assert (SECRET in told(there, "alice", Way(spelling, "GET", target, headers)).body) == owner
    assert told(there, "alice", Way("plain", "GET", "/{bucket}/{key}")).body == SECRET


@pytest.mark.parametrize("part", ["", "?partNumber=1&uploadId={spare}"])
@pytest.mark.parametrize("source", SOURCES)
def test_no_name_of_a_source_copies_it(there: Scene, source: str, part: str) -> None:
    way = Way(source, "PUT", "/{own}/taken" + part, {"x-amz-copy-source": source})
    try:
        assert told(there, "bob", way).status in (400, 403, 404)
        assert told(there, "bob", Way("read", "GET", "/{own}/taken")).said == (404, "NoSuchKey")
        assert (told(there, "alice", way).status == 200) == SOURCES[source]
    finally:
        told(there, "alice", Way("remove", "DELETE", "/{own}/taken"))
        told(there, "bob", Way("remove", "DELETE", "/{own}/taken"))


@pytest.mark.parametrize("name", NAMES)
def test_no_bucket_is_made_in_anothers_name(there: Scene, name: str) -> None:
    way = Way(name, "PUT", f"/{name}")
    assert told(there, "bob", way).said == NAMES[name]
    assert there.seen() == there.state
    assert told(there, "bob", Way("own", "PUT", "/{own}")).status == 200


def test_bob_is_told_of_his_own_buckets_alone(there: Scene) -> None:
    """Everybody may know the names, and has them from the placement service."""
    hers, his = (told(there, asker, Way("buckets", "GET", "/")).body for asker in ("alice", "bob"))
    assert there.fill("<Name>{bucket}</Name>").encode() in hers
    assert there.fill("<Name>{own}</Name>", "bob").encode() in his
    assert b"alice" not in his


# What alice may allow


@dataclass(frozen=True)
class Wish:
    """How alice lets others read: the request, and what takes it back; and whether it means everybody."""

    give: Way
    take: Way
    everybody: bool = True


ACL, PRIVATE = "/{bucket}/{key}?acl", {"x-amz-acl": "private"}
WISHES = {
    "everybody, by an ACL": Wish(Way("", "PUT", ACL, {"x-amz-acl": "public-read"}), Way("", "PUT", ACL, PRIVATE)),
    "researchers, by an ACL": Wish(
        Way("", "PUT", ACL, {"x-amz-acl": "authenticated-read"}), Way("", "PUT", ACL, PRIVATE), everybody=False
    ),
    "bob, by an ACL": Wish(
        Way("", "PUT", ACL, {"x-amz-grant-read": "id=bob"}), Way("", "PUT", ACL, PRIVATE), everybody=False
    ),
    "everybody, by a policy": Wish(
        Way("", "PUT", "/{bucket}?policy", body=OPEN_POLICY), Way("", "DELETE", "/{bucket}?policy")
    ),
    "bob, by a policy": Wish(
        Way("", "PUT", "/{bucket}?policy", body=OPEN_POLICY.replace('"*"', '{"AWS": "arn:aws:iam:::user/bob"}')),
        Way("", "DELETE", "/{bucket}?policy"),
        everybody=False,
    ),
}


@pytest.mark.parametrize("wish", WISHES)
def test_the_owner_may_let_others_read_and_take_it_back(there: Scene, wish: str) -> None:
    read = Way("read", "GET", "/{bucket}/{key}")
    plain = Request("GET", there.fill("/{bucket}/{key}"), {"host": HOST})

    def seen() -> tuple[bool, bool]:
        """Whether bob reads it, and whether somebody without keys does."""
        return told(there, "bob", read).body == SECRET, there.bob.send(plain)[0].body == SECRET

    assert seen() == (False, False)
    try:
        assert told(there, "alice", WISHES[wish].give).status in (200, 204)
        assert seen() == (True, WISHES[wish].everybody)
    finally:
        assert told(there, "alice", WISHES[wish].take).status in (200, 204)
        taken = seen()
        there.prepare()
    assert taken == (False, False)


# The endpoint's other interfaces


@dataclass(frozen=True)
class Operator:
    """An S3 user with all rights, and one who is there to be changed, with a bucket of the same name."""

    person: Person
    user: str
    access: str

    def fill(self, target: str) -> str:
        """The target of a request to the operators' interface."""
        names = {"{user}": self.user, "{another key}": self.user.upper(), "{access}": self.access}
        for name, value in names.items():
            target = target.replace(name, value)
        return f"/admin/{target}"


@pytest.fixture(scope="module")
def operator(there: Scene) -> Iterator[Operator]:
    """Its requests come from bob's process: its keys alone are others."""
    user = f"attack-{secrets.token_hex(4)}"

    def made(name: str, caps: str = "") -> Person:
        told = ask(STORES[0], f"radosgw-admin user create --uid {name} --display-name {name} {caps}")
        key = json.loads(told)["keys"][0]
        return Person(there.bob.notebook, Keys(key["access_key"], key["secret_key"]))

    try:
        one = made(user)
        assert one.ask("PUT", f"/{user}").status == 200
        caps = ";".join(f"{right}=*" for right in RIGHTS)
        yield Operator(made(f"{user}-operator", f"--caps '{caps}'"), user, one.keys.access)
    finally:
        for name in (f"{user}-operator", f"{user}-new", user):
            ask(STORES[0], f"radosgw-admin user rm --uid {name} --purge-data", check=False)
        ask(STORES[0], f"radosgw-admin bucket rm --bucket {user}", check=False)


@pytest.mark.parametrize("what", ADMIN)
def test_the_operators_interface_is_not_bobs(there: Scene, operator: Operator, what: str) -> None:
    method, target = ADMIN[what]
    for user in (operator.user, "alice", "bob"):
        answer = there.bob.ask(method, operator.fill(target.replace("{user}", user)))
        assert answer.said == (403, "AccessDenied"), user
    unsigned = Request(method, operator.fill(target), {"host": HOST})
    assert there.bob.send(unsigned)[0].said == (403, "AccessDenied")
    assert there.seen() == there.state
    # 404: what is asked for is not there.
    assert operator.person.ask(method, operator.fill(target)).status in (200, 404)


@pytest.mark.parametrize("what", OFF)
def test_what_the_facility_leaves_off_answers_nobody(there: Scene, operator: Operator, what: str) -> None:
    off = OFF[what]
    headers = {"host": HOST, **{name: there.fill(value) for name, value in off.request.headers.items()}}
    request = Request(off.request.method, there.fill(off.request.target), headers, off.request.body)
    for person in (there.bob, there.alice, operator.person):
        sent = signed(person.signing(service=off.service), request) if off.service else request
        assert person.send(sent)[0].said == off.said
        assert person.ask("GET", "/").status == 200
    assert there.seen() == there.state
