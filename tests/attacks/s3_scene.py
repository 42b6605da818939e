"""Alice's buckets with a secret in them, and two researchers who send requests from their own processes."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from machines import FACILITY, STUCK
from placement_rack import ENDPOINT, keys
from researcher import Notebook, Researcher
from s3_requests import Request, Signing, signed
from s3_ways import LOG_TO

from appliance.placement.auth.sigv4 import Keys

HOST = ENDPOINT.removeprefix("http://")
SECRET = f"secret of alice's {secrets.token_hex(8)}".encode()
SHARED = b"what alice hands on"
SECONDS = 1200
PART = b"p" * 1000
# In a researcher's process; answers come in the order of the requests.
SENDER = """
import base64, http.client
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

def send(url, method, target, headers, body):
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=STUCK)
    try:
        connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        body = base64.b64decode(body)
        names = {name.lower() for name, _ in headers}
        if "content-length" not in names and "transfer-encoding" not in names:
            headers = [*headers, ["Content-Length", str(len(body))]]
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return [answer.status, told, base64.b64encode(answer.read()).decode()]
    finally:
        connection.close()

threads = ThreadPoolExecutor(8)
def send_all(requests):
    return list(threads.map(lambda request: send(*request), requests))
"""
# What alice's bucket has, so that there is something to ask for.
SETTINGS = {
    "policy": '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", '
    '"Principal": {"AWS": "arn:aws:iam:::user/alice"}, "Resource": "arn:aws:s3:::{bucket}/*"}]}',
    "cors": "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod>"
    "<AllowedOrigin>https://example.org</AllowedOrigin></CORSRule></CORSConfiguration>",
    "lifecycle": "<LifecycleConfiguration><Rule><ID>own</ID><Prefix>old/</Prefix><Status>Enabled</Status>"
    "<Expiration><Days>999</Days></Expiration></Rule></LifecycleConfiguration>",
    "tagging": "<Tagging><TagSet><Tag><Key>own</Key><Value>own</Value></Tag></TagSet></Tagging>",
    "publicAccessBlock": "<PublicAccessBlockConfiguration><BlockPublicAcls>false</BlockPublicAcls>"
    "<BlockPublicPolicy>false</BlockPublicPolicy></PublicAccessBlockConfiguration>",
    "requestPayment": "<RequestPaymentConfiguration><Payer>BucketOwner</Payer></RequestPaymentConfiguration>",
}
# Alice's own buckets may write their logs into her target.
LOGS = """{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
"Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": ["s3:PutObject"],
"Resource": "arn:aws:s3:::{target}/*",
"Condition": {"ArnLike": {"aws:SourceArn": ["arn:aws:s3:::{kept}", "arn:aws:s3:::{own}"]},
"StringEquals": {"aws:SourceAccount": "alice"}}}]}"""
READ_BACK = (
    *("acl", "policy", "cors", "lifecycle", "tagging", "publicAccessBlock", "requestPayment", "versions", "uploads"),
    *("versioning", "notification", "logging", "replication", "encryption"),
)


@dataclass(frozen=True)
class Answer:
    """What the endpoint said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """S3's name of the error; empty where there is none."""
        found = re.search(rb'<Code>(\w+)</Code>|"Code":\s*"(\w+)"', self.body)
        return (found[1] or found[2]).decode() if found else ""

    @property
    def said(self) -> tuple[int, str]:
        return self.status, self.code

    def text(self, element: str) -> str:
        """The text of an element, which is there."""
        found = re.search(rf"<{element}>([^<]+)</{element}>".encode(), self.body)
        assert found, self
        return found[1].decode()


@dataclass
class Person:
    """A researcher's process with S3 keys; ``url`` is where it sends to."""

    notebook: Notebook
    keys: Keys
    url: str = ENDPOINT

    def send(self, *requests: Request) -> list[Answer]:
        """Send requests as they are, several at a time."""
        told = [
            (self.url, each.method, each.target, list(each.headers.items()), base64.b64encode(each.body).decode())
            for each in requests
        ]
        answers = self.notebook.run(f"say(answers=send_all({told!r}))")["answers"]
        return [Answer(status, headers, base64.b64decode(body)) for status, headers, body in answers]

    def signing(self, **how: Any) -> Signing:
        return Signing(**{"keys": self.keys, "host": HOST, **how})

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        """Send one request with one's own signature."""
        request = Request(method, target).with_headers(**headers)
        return self.send(signed(self.signing(), Request(method, target, request.headers, body)))[0]

    def ask_all(self, *asked: Sequence[Any]) -> list[Answer]:
        """Send several with one's own signature: method, target, and where there is one a body."""
        requests = [Request(method, target, {}, *body) for method, target, *body in asked]
        return self.send(*(signed(self.signing(), request) for request in requests))


@dataclass
class Scene:
    """Alice's things, and a bucket of each one's own.

    Alice has ``bucket``, ``kept`` with versions, locks and a log, ``target`` of that log, and ``empty``. ``own`` is a
    bucket of whoever asks, with an object ``given`` and an upload ``spare``.
    """

    alice: Person
    bob: Person
    names: dict[str, str] = field(default_factory=dict)
    state: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mark = secrets.token_hex(4)
        bucket = f"alice-attacked-{mark}"
        others = {name: f"{bucket}-{name}" for name in ("kept", "empty", "target")}
        self.names = {
            "bucket": bucket,
            **others,
            "alice own": f"{bucket}-own",
            "bob own": f"bob-attacking-{mark}",
            "key": "secret",
            "digest": hashlib.md5(SECRET).hexdigest(),  # noqa: S324  (an etag)
            "until": "2099-01-01T00:00:00Z",
            "host": HOST,
            "access": self.alice.keys.access,
        }

    def make(self) -> None:
        """Make all that stays as it is."""
        made = [self.alice.ask("PUT", self.fill(path)) for path in ("/{bucket}", "/{target}")]
        made.append(self.alice.ask("PUT", self.fill("/{kept}"), x_amz_bucket_object_lock_enabled="true"))
        made.append(self.alice.ask("PUT", self.fill("/{target}?policy"), self.fill(LOGS).encode()))
        made.append(self.alice.ask("PUT", self.fill("/{kept}?logging"), self.fill(LOG_TO).encode()))
        for user, person in (("alice", self.alice), ("bob", self.bob)):
            made.append(person.ask("PUT", self.fill("/{own}", user)))
            made.append(person.ask("PUT", self.fill("/{own}/given", user), b"given"))
            made.append(person.ask("POST", self.fill("/{own}/taken?uploads", user)))
            self.names[f"{user} spare"] = made[-1].text("UploadId")
        assert {answer.status for answer in made} <= {200, 204}, made

    def fill(self, text: str, asker: str = "alice") -> str:
        """Put the names in, as ``asker`` means them."""
        known = {**self.names, **{name: self.names.get(f"{asker} {name}", "") for name in ("own", "spare")}}
        return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], found[0]), text)

    def prepare(self) -> None:
        """Bring back what alice herself changes."""
        done = [
            self.alice.ask("PUT", self.fill("/{bucket}?acl"), x_amz_acl="private"),
            self.alice.ask("DELETE", self.fill("/{bucket}?encryption")),
            self.alice.ask("POST", self.fill("/{bucket}/{key}?uploads")),
        ]
        self.names["upload"] = done[2].text("UploadId")
        # One after the other: they are parts of one record.
        now = self.seen()
        for name, body in SETTINGS.items():
            place = "/{bucket}?" + name
            if not self.state or now[place] != self.state[place]:
                done.append(self.alice.ask("PUT", self.fill(place), self.fill(body).encode()))
        written = self.alice.ask_all(
            ("PUT", self.fill("/{kept}/{key}"), SECRET),
            ("PUT", self.fill("/{bucket}/{key}"), SECRET),
            ("PUT", self.fill("/{bucket}/shared"), SHARED),
            ("PUT", self.fill("/{bucket}/{key}?partNumber=1&uploadId={upload}"), PART),
            ("PUT", self.fill("/{empty}")),
            ("DELETE", self.fill("/{bucket}/inbox")),
        )
        self.names |= {"version": written[0].headers["x-amz-version-id"], "etag": written[3].headers["etag"]}
        done.append(self.alice.ask("PUT", self.fill("/{bucket}/{key}?tagging"), SETTINGS["tagging"].encode()))
        assert {answer.status for answer in (*done, *written)} <= {200, 204}, (done, written)
        self.state = self.seen()

    def seen(self) -> dict[str, tuple[int, bytes]]:
        """All of alice's things as she sees them: of each address the status, and what is there."""
        asked = [
            *("/{bucket}?" + name for name in READ_BACK),
            *("/{bucket}/{key}" + query for query in ("", "?acl", "?tagging", "?uploadId={upload}")),
            *("/{kept}" + rest for rest in ("?versions", "?acl", "?object-lock", "?logging", "?versioning")),
            *("/{kept}/{key}?" + name + "&versionId={version}" for name in ("acl", "retention", "legal-hold")),
            *("/{target}?versions", "/{target}?policy", "/{empty}"),
        ]
        answers = self.alice.ask_all(*(("GET", self.fill(target)) for target in asked))
        # An error's body has the request's own number in it.
        told = [(one.status, one.body if one.status == 200 else one.code.encode()) for one in answers]
        return dict(zip(asked, told, strict=True))

    def remove(self) -> None:
        """Take all of it away, locks included."""
        off = b"<LegalHold><Status>OFF</Status></LegalHold>"
        bypass = {"x-amz-bypass-governance-retention": "true"}
        for user, person in (("alice", self.alice), ("bob", self.bob)):
            person.ask("PUT", self.fill("/{own}?logging", user), b"<BucketLoggingStatus/>")
            for bucket in ("own", *(("bucket", "kept", "empty", "target") if user == "alice" else ())):
                place = self.fill(f"/{{{bucket}}}", user)
                uploads = _found("<Key>{}</Key><UploadId>{}<", person.ask("GET", f"{place}?uploads"))
                versions = _found("<Key>{}</Key><VersionId>{}<", person.ask("GET", f"{place}?versions"))
                if bucket == "kept":
                    held = [f"{place}/{key}?legal-hold&versionId={version}" for key, version in versions]
                    person.ask_all(*(("PUT", target, off) for target in held))
                left = [f"{place}/{key}?uploadId={upload}" for key, upload in uploads]
                left += [f"{place}/{key}?versionId={version}" for key, version in versions]
                person.send(*(signed(person.signing(), Request("DELETE", target, bypass)) for target in left))
                person.ask("DELETE", place)


def _found(pattern: str, answer: Answer) -> list[list[str]]:
    """The texts in an answer that stand where the pattern has braces."""
    return [list(found) for found in re.findall(pattern.replace("{}", "([^<]+)"), answer.body.decode())]


@contextmanager
def scene() -> Iterator[Scene]:
    """Both researchers, and alice's things for as long as the block lasts."""
    with (
        Researcher(FACILITY, "alice", SECONDS) as alice,
        Researcher(FACILITY, "bob", SECONDS) as bob,
        alice.notebook() as hers,
        bob.notebook() as his,
    ):
        for notebook in (hers, his):
            notebook.run(SENDER.replace("STUCK", str(STUCK)))
        made = Scene(Person(hers, keys("alice")), Person(his, keys("bob")))
        try:
            made.make()
            made.prepare()
            yield made
        finally:
            made.remove()
