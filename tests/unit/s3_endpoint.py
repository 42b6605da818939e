"""An S3 endpoint over a folder, for one loopback address each host: says which host answered, and keeps a log.

It speaks the part of S3 that obstore, s3fs and the facility's jobs use for data: get, head, put, delete and list
objects, and multipart uploads. Signatures are not checked; the bucket bob is another's.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import http_serving
from http_serving import serving

CONNECTION = "s3-endpoint"  # name of the server's threads
SECRET = "canary-secret-of-the-tests"


def host_of(address: str) -> str:
    """127.0.0.12 is the loopback address of host12."""
    return f"host{address.rsplit('.', 1)[1]}"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def etag_of(data: bytes) -> str:
    """The ETag of an object that came in one piece."""
    return f'"{hashlib.md5(data).hexdigest()}"'  # noqa: S324


@dataclass
class S3Endpoint:
    """One server that listens on all loopback addresses.

    Attributes:
        folder: buckets are folders in it, objects files.
        log: (method, host that answered, "/bucket/key", query) of each request.
        headers: of each request, in the order of ``log``.
        refuse: how many of the next requests are answered with 503.
        cut: how many of the next answers with a body break off in the middle of it.
        unanswered: how many of the next conditional PUTs are done, and the connection ends without an answer.
        racing: how many of the next conditional PUTs are refused as Ceph does where two come at the same moment.
        policies: of buckets, as they were put.
        behind: policies that every other request without keys still finds, as at a slow gateway; None for none.
        public: objects ("bucket/key") that have an ACL for everybody.
        owners: of buckets that are not named after them.
        guarded: whether those without keys read only what a policy or an ACL opens to everybody.
        unlisted: buckets of others that may be read and not listed: what is not there is refused as what is secret is.
        full: whether nothing more may be written, as with a quota that is used up.
        uploads: when each multipart upload began that has not ended, in seconds since 1970, by "/bucket/key".
    """

    folder: Path
    log: list[tuple[str, str, str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    refuse: int = 0
    cut: int = 0
    unanswered: int = 0
    racing: int = 0
    full: bool = False
    policies: dict[str, str] = field(default_factory=dict)
    behind: dict[str, str] | None = None
    public: set[str] = field(default_factory=set)
    owners: dict[str, str] = field(default_factory=dict)
    guarded: bool = False
    unlisted: set[str] = field(default_factory=set)
    parts: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        endpoint = self
        self._lock = threading.Lock()
        self.writing = threading.Lock()

        class Handler(_Handler):
            s3 = endpoint

        # All of 127.0.0.0/8 is this machine: the address that a client names is the host that it means.
        self._serving = ExitStack()
        self._port = self._serving.enter_context(serving(Handler, "0.0.0.0", CONNECTION))  # noqa: S104

    def url(self, address: str) -> str:
        return f"http://{address}:{self._port}"

    def asked(self, method: str = "GET") -> list[str]:
        """Objects that were asked for, listings apart."""
        return [path.lstrip("/") for verb, _, path, query in self.log if verb == method and "list-type" not in query]

    def objects(self) -> list[str]:
        """All there are, as bucket/key."""
        return sorted(str(file.relative_to(self.folder)) for file in self.folder.rglob("*") if file.is_file())

    def take(self, method: str, host: str, path: str, query: str, headers: dict[str, str]) -> bool:
        with self._lock:
            self.log.append((method, host, path, query))
            self.headers.append(headers)
            self.refuse -= 1
            return self.refuse < 0

    def cut_now(self, body: bytes) -> bool:
        with self._lock:
            cut = self.cut > 0 and len(body) > 1
            self.cut -= cut
            return cut

    def next_of(self, what: str) -> bool:
        """Whether this is one of the next so many; called while ``writing`` is held."""
        left = getattr(self, what)
        setattr(self, what, max(0, left - 1))
        return bool(left)

    def empty(self) -> None:
        """Leave the empty bucket alice, and nothing in the log."""
        for bucket in self.folder.iterdir():
            shutil.rmtree(bucket)
        (self.folder / "alice").mkdir()
        self.log.clear()
        self.headers.clear()
        self.parts.clear()
        self.uploads.clear()
        self.refuse = self.cut = self.unanswered = self.racing = 0
        self.full = self.guarded = False
        self.policies.clear()
        self.owners.clear()
        self.public.clear()
        self.unlisted.clear()
        self.behind = None

    def buckets_of(self, user: str) -> list[str]:
        names = sorted(one.name for one in self.folder.iterdir())
        return [name for name in names if self.owners.get(name, name) == user]

    def opens(self, path: str) -> bool:
        """Whether everybody reads "/bucket/key"; what forbids goes before what allows."""
        name = path.lstrip("/")
        policies = self.policies if self.behind is None or len(self.log) % 2 else self.behind
        policy = json.loads(policies.get(name.partition("/")[0], '{"Statement": []}'))
        effects = {
            statement["Effect"]
            for statement in policy["Statement"]
            for resource in [statement["Resource"]]
            for arn in (resource if isinstance(resource, list) else [resource])
            if statement["Principal"] == "*" and fnmatchcase(f"arn:aws:s3:::{name}", arn.replace("[", "[[]"))
        }
        return "Deny" not in effects and ("Allow" in effects or name in self.public)

    def __enter__(self) -> S3Endpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.close()


class _Handler(http_serving.Handler):
    s3: S3Endpoint
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve("GET")

    def do_HEAD(self) -> None:
        self._serve("HEAD")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query, keep_blank_values=True)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.s3.take(method, self._host(), path, url.query, {k.lower(): v for k, v in self.headers.items()}):
            return self._answer(503, b"<Error><Code>ServiceUnavailable</Code></Error>")
        if path.startswith("/bob"):
            return self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        if self.s3.guarded and "Authorization" not in self.headers and not self.s3.opens(path):
            return self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        if path == "/admin/bucket":
            return self._admin(query.get("bucket", [""])[0])
        if "policy" in query:
            return self._policy(method, path.strip("/"), body)
        file = self.s3.folder / path.lstrip("/")
        if path.split("/")[1] in self.s3.unlisted and not file.is_file():
            return self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        if method == "POST":
            return self._post(path, query, body)
        if method == "PUT" and self.s3.full:
            return self._answer(403, b"<Error><Code>QuotaExceeded</Code></Error>")
        if method == "GET" and path == "/":
            names = "".join(f"<Bucket><Name>{escape(name)}</Name></Bucket>" for name in self.s3.buckets_of("alice"))
            listed = f"<ListAllMyBucketsResult><Buckets>{names}</Buckets></ListAllMyBucketsResult>"
            return self._answer(200, listed.encode())
        if method == "PUT":
            return self._put(file, path, query, body)
        if method == "DELETE":
            if "uploadId" in query:
                self.s3.uploads.pop(path, None)
            else:
                self._delete(file)
            return self._answer(204, b"")
        if method == "GET" and "uploads" in query:
            return self._answer(200, self._uploads(path))
        if "list-type" in query:
            return self._answer(200, self._listing(path.strip("/"), query))
        if method == "HEAD" and file.is_dir() and file.parent == self.s3.folder:
            return self._answer(200, b"")
        if not file.is_file():
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>" if method == "GET" else b"")
        data = file.read_bytes()
        modified = int(file.stat().st_mtime)
        etag = {"ETag": etag_of(data), "Last-Modified": formatdate(modified, usegmt=True)}
        since = self.headers.get("If-Unmodified-Since")
        if self.headers.get("If-Match", etag["ETag"]) != etag["ETag"] or (
            since and modified > parsedate_to_datetime(since).timestamp()
        ):
            return self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        if "Range" in self.headers:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            start = int(first) if first else max(0, len(data) - int(last))
            end = min(int(last) + 1, len(data)) if first and last else len(data)
            if start >= end:
                return self._answer(416, b"<Error><Code>InvalidRange</Code></Error>")
            content_range = {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}
            return self._answer(206, data[start:end], {**etag, **content_range})
        return self._answer(200, data if method == "GET" else b"", etag, length=len(data))

    def _admin(self, bucket: str) -> None:
        """The gateway's own interface: all buckets, or one's record; each belongs to who it is named after."""
        names = sorted(one.name for one in self.s3.folder.iterdir())
        if bucket and bucket not in names:
            return self._answer(404, b"{}")
        told = {"bucket": bucket, "owner": self.s3.owners.get(bucket, bucket)} if bucket else names
        return self._answer(200, json.dumps(told).encode())

    def _policy(self, method: str, bucket: str, body: bytes) -> None:
        if method == "PUT":
            self.s3.policies[bucket] = body.decode()
        elif method == "DELETE":
            self.s3.policies.pop(bucket, None)
        elif bucket in self.s3.policies:
            return self._answer(200, self.s3.policies[bucket].encode())
        else:
            return self._answer(404, b"<Error><Code>NoSuchBucketPolicy</Code></Error>")
        return self._answer(204, b"")

    def _put(self, file: Path, path: str, query: dict[str, list[str]], body: bytes) -> None:
        is_conditional = "If-Match" in self.headers or "If-None-Match" in self.headers
        with self.s3.writing:  # as S3, which takes one after the other
            if is_conditional and self.s3.next_of("racing"):
                return self._answer(409, b"<Error><Code>ConcurrentModification</Code></Error>")
            expected = self.headers.get("If-Match")
            if expected and expected.strip('"') != (etag_of(file.read_bytes()) if file.is_file() else "").strip('"'):
                return self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            if self.headers.get("If-None-Match") == "*" and file.is_file():
                return self._answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")  # as RGW, which names none
            if "x-amz-copy-source" in self.headers:
                return self._copy(self.s3.folder / unquote(self.headers["x-amz-copy-source"]).lstrip("/"), file)
            if "partNumber" in query:
                self.s3.parts[f"{path}?{int(query['partNumber'][0]):05}"] = body
            elif file.parent == self.s3.folder:
                file.mkdir(exist_ok=True)
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                written = self.s3.folder.with_name(f"{self.s3.folder.name}.written")
                written.write_bytes(body)
                written.replace(file)  # at once: who reads meanwhile gets the old or the new one
            if is_conditional and self.s3.next_of("unanswered"):
                self.close_connection = True
                return None
            return self._answer(200, b"", {"ETag": etag_of(body)})

    def _delete(self, file: Path) -> None:
        """Remove an object, and the folders that only it was in: S3 has none."""
        file.unlink(missing_ok=True)
        with suppress(OSError):  # which is not empty
            while file.parent.parent != self.s3.folder:
                file = file.parent
                file.rmdir()

    def _copy(self, source: Path, file: Path) -> None:
        if not source.is_file():
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        file.parent.mkdir(parents=True, exist_ok=True)
        data = source.read_bytes()
        file.write_bytes(data)
        etag = escape(etag_of(data))
        return self._answer(200, f"<CopyObjectResult><ETag>{etag}</ETag></CopyObjectResult>".encode())

    def _post(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        if "delete" in query:
            keys = re.findall(rb"<Key>(.*?)</Key>", body)
            for key in keys:
                file = self.s3.folder / path.strip("/") / key.decode()
                if not file.is_dir():  # s3fs also deletes the name of the folder, which S3 does not have
                    self._delete(file)
            gone = b"".join(b"<Deleted><Key>%s</Key></Deleted>" % key for key in keys)
            return self._answer(200, b"<DeleteResult>%s</DeleteResult>" % gone)
        if "uploads" in query:
            self.s3.uploads[path] = time.time()
            answer = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
            return self._answer(200, answer.encode())
        file = self.s3.folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        mine = sorted(name for name in self.s3.parts if name.startswith(f"{path}?"))
        file.write_bytes(b"".join(self.s3.parts.pop(name) for name in mine))
        self.s3.uploads.pop(path, None)
        answer = '<CompleteMultipartUploadResult><ETag>"0-1"</ETag></CompleteMultipartUploadResult>'
        return self._answer(200, answer.encode())

    def _host(self) -> str:
        return host_of(self.connection.getsockname()[0])

    def _uploads(self, bucket: str) -> bytes:
        told = "".join(
            f"<Upload><Key>{escape(path.removeprefix(bucket.rstrip('/') + '/'))}</Key><UploadId>1</UploadId>"
            f"<Initiated>{_moment(began)}</Initiated></Upload>"
            for path, began in sorted(self.s3.uploads.items())
            if path.startswith(bucket.rstrip("/") + "/")
        )
        answer = f"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{told}</ListMultipartUploadsResult>"
        return answer.encode()

    def _listing(self, bucket: str, query: dict[str, list[str]]) -> bytes:
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        root = self.s3.folder / bucket
        names = sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())
        contents, prefixes = "", set()
        after, most = query.get("continuation-token", [""])[0], int(query.get("max-keys", ["1000"])[0])
        names = [name for name in names if name.startswith(prefix) and name > after]
        rest_follows = not delimiter and len(names) > most
        if rest_follows:
            names = names[:most]
        for name in names:
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest.split(delimiter)[0] + delimiter)
            else:
                data = (root / name).read_bytes()
                told = f"<Size>{len(data)}</Size><ETag>{escape(etag_of(data))}</ETag>"
                told += f"<LastModified>{_moment((root / name).stat().st_mtime)}</LastModified>"
                contents += f"<Contents><Key>{escape(name)}</Key>{told}</Contents>"
        common = "".join(f"<CommonPrefixes><Prefix>{escape(p)}</Prefix></CommonPrefixes>" for p in sorted(prefixes))
        more = f"<NextContinuationToken>{escape(names[-1])}</NextContinuationToken>" if rest_follows else ""
        more += f"<IsTruncated>{str(rest_follows).lower()}</IsTruncated>"
        return f"<ListBucketResult>{more}{contents}{common}</ListBucketResult>".encode()

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, length: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Last-Modified" not in (headers or {}):
            self.send_header("Last-Modified", formatdate(usegmt=True))
        self.send_header("x-appliance-served-by", self._host())
        if (
            "x-appliance-reader" in self.headers
        ):  # user metadata for the facility's reader alone, as the balancer does it
            self.send_header("x-amz-meta-appliance-served-by", self._host())
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "HEAD":  # a body would be taken for the next answer
            return
        if status in (200, 206) and self.s3.cut_now(body):
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.wfile.write(body)
