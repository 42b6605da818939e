"""What bob may ask of alice's buckets with his own keys, and how he may name them. Pure data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

DENIED = (403, "AccessDenied")
OPEN_POLICY = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:*", '
    '"Resource": ["arn:aws:s3:::{bucket}", "arn:aws:s3:::{bucket}/*"]}]}'
)
PARTS = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
LOG_TO = (
    "<BucketLoggingStatus><LoggingEnabled><TargetBucket>{target}</TargetBucket><TargetPrefix>log/</TargetPrefix>"
    "</LoggingEnabled></BucketLoggingStatus>"
)


@dataclass(frozen=True)
class Way:
    """One request; names in braces are the scene's.

    Attributes:
        said: what bob is told: the status, and S3's name of the error.
        owner: what alice is told for the same request.
    """

    name: str
    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    said: tuple[int, str] = DENIED
    owner: int = 200


def ways() -> list[Way]:
    """All of them, each by a name of its own."""
    return [*_reads_of_buckets(), *_reads_of_objects(), *_writes_of_objects(), *_uploads(), *_writes_of_buckets()]


def _reads_of_buckets() -> Iterator[Way]:
    for query in (
        *("list-type=2", "prefix=s", "versions", "uploads", "location", "acl", "policy", "policyStatus", "cors"),
        *(
            "replication",
            "lifecycle",
            "versioning",
            "tagging",
            "publicAccessBlock",
            "notification",
            "logging",
            "requestPayment",
        ),
        "allow-unordered=true",
    ):
        yield Way(f"GET ?{query}", "GET", "/{bucket}?" + query)
    yield Way("GET ?encryption", "GET", "/{bucket}?encryption", owner=404)
    yield Way("GET ?object-lock", "GET", "/{kept}?object-lock")
    yield Way("HEAD", "HEAD", "/{bucket}", said=(403, ""))
    yield Way("HEAD with figures", "HEAD", "/{bucket}?read-stats=true", said=(403, ""))


def _reads_of_objects() -> Iterator[Way]:
    for query in ("", "?acl", "?tagging", "?partNumber=1", "?versionId=null", "?response-content-type=text%2Fhtml"):
        yield Way(f"GET object {query}", "GET", "/{bucket}/{key}" + query)
    yield Way("GET object ?attributes", "GET", "/{bucket}/{key}?attributes", {"x-amz-object-attributes": "ETag"})
    yield Way("HEAD object", "HEAD", "/{bucket}/{key}", said=(403, ""))
    yield Way("GET version", "GET", "/{kept}/{key}?versionId={version}")
    yield Way("HEAD version", "HEAD", "/{kept}/{key}?versionId={version}", said=(403, ""))
    yield Way("GET a byte", "GET", "/{bucket}/{key}", {"Range": "bytes=0-0"}, owner=206)
    yield Way("is it still the same", "GET", "/{bucket}/{key}", {"If-None-Match": "{digest}"}, owner=304)
    # Whether an object is there is told to nobody else.
    yield Way("GET what is not there", "GET", "/{bucket}/nothing", owner=404)
    yield Way("HEAD what is not there", "HEAD", "/{bucket}/nothing", said=(403, ""), owner=404)
    yield Way("GET ?retention", "GET", "/{kept}/{key}?retention&versionId={version}", owner=404)
    yield Way("GET ?legal-hold", "GET", "/{kept}/{key}?legal-hold&versionId={version}", owner=404)


def _writes_of_objects() -> Iterator[Way]:
    yield Way("PUT", "PUT", "/{bucket}/{key}", body="bob's")
    yield Way("PUT new", "PUT", "/{bucket}/new", body="bob's")
    yield Way("PUT what is not there", "PUT", "/{bucket}/other", {"If-None-Match": "*"}, "bob's")
    yield Way("PUT for everybody", "PUT", "/{bucket}/{key}", {"x-amz-acl": "public-read-write"}, "bob's")
    yield Way("append", "PUT", "/{bucket}/appended?append&position=0", body="bob's")
    yield Way("PUT object ?acl", "PUT", "/{bucket}/{key}?acl", {"x-amz-acl": "public-read"})
    yield Way("PUT object ?acl, a grant", "PUT", "/{bucket}/{key}?acl", {"x-amz-grant-read": "id=bob"})
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
    yield Way("PUT object ?tagging", "PUT", "/{bucket}/{key}?tagging", body=tags)
    yield Way("DELETE object ?tagging", "DELETE", "/{bucket}/{key}?tagging", owner=204)
    lock = "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>"
    yield Way("PUT ?retention", "PUT", "/{kept}/{key}?retention&versionId={version}", body=lock)
    hold = "<LegalHold><Status>ON</Status></LegalHold>"
    yield Way("PUT ?legal-hold", "PUT", "/{kept}/{key}?legal-hold&versionId={version}", body=hold)
    restore = "<RestoreRequest><Days>1</Days></RestoreRequest>"
    yield Way("POST ?restore", "POST", "/{bucket}/{key}?restore", body=restore, owner=403)
    select = (
        "<SelectObjectContentRequest><Expression>select * from s3object</Expression><ExpressionType>SQL"
        "</ExpressionType><InputSerialization><CSV/></InputSerialization><OutputSerialization><CSV/>"
        "</OutputSerialization></SelectObjectContentRequest>"
    )
    yield Way("select", "POST", "/{bucket}/{key}?select&select-type=2", body=select)
    yield Way("DELETE", "DELETE", "/{bucket}/{key}", owner=204)
    yield Way("DELETE what is not there", "DELETE", "/{bucket}/nothing", owner=204)
    yield Way("DELETE version", "DELETE", "/{kept}/{key}?versionId={version}", owner=204)
    bypass = {"x-amz-bypass-governance-retention": "true"}
    yield Way("DELETE version, around the lock", "DELETE", "/{kept}/{key}?versionId={version}", bypass, owner=204)
    several = "<Delete><Object><Key>{key}</Key></Object><Object><Key>shared</Key></Object></Delete>"
    yield Way("POST ?delete", "POST", "/{bucket}?delete", body=several, said=(200, "AccessDenied"))
    yield Way("copy over it", "PUT", "/{bucket}/{key}", {"x-amz-copy-source": "/{own}/given"})
    yield Way("copy within", "PUT", "/{bucket}/copy", {"x-amz-copy-source": "/{bucket}/{key}"})
    yield Way("copy out", "PUT", "/{own}/taken", {"x-amz-copy-source": "/{bucket}/{key}"})
    yield Way("copy a version out", "PUT", "/{own}/taken", {"x-amz-copy-source": "/{kept}/{key}?versionId={version}"})


def _uploads() -> Iterator[Way]:
    part = "/{bucket}/{key}?partNumber=2&uploadId={upload}"
    yield Way("begin an upload", "POST", "/{bucket}/{key}?uploads")
    yield Way("list parts", "GET", "/{bucket}/{key}?uploadId={upload}")
    yield Way("add a part", "PUT", part, body="bob's")
    yield Way("add a part as a copy", "PUT", part, {"x-amz-copy-source": "/{own}/given"})
    yield Way("end an upload", "POST", "/{bucket}/{key}?uploadId={upload}", body=PARTS)
    yield Way("abort an upload", "DELETE", "/{bucket}/{key}?uploadId={upload}", owner=204)
    copied = {"x-amz-copy-source": "/{bucket}/{key}"}
    yield Way("copy out as a part", "PUT", "/{own}/taken?partNumber=1&uploadId={spare}", copied)
    ranged = {**copied, "x-amz-copy-source-range": "bytes=0-5"}
    yield Way("copy a range out as a part", "PUT", "/{own}/taken?partNumber=1&uploadId={spare}", ranged)


def _writes_of_buckets() -> Iterator[Way]:
    bodies = {
        "policy": OPEN_POLICY,
        "cors": "<CORSConfiguration><CORSRule><AllowedMethod>PUT</AllowedMethod><AllowedOrigin>*</AllowedOrigin>"
        "</CORSRule></CORSConfiguration>",
        "lifecycle": "<LifecycleConfiguration><Rule><ID>all</ID><Prefix></Prefix><Status>Enabled</Status>"
        "<Expiration><Days>999</Days></Expiration></Rule></LifecycleConfiguration>",
        "tagging": "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
        "publicAccessBlock": "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>"
        "</PublicAccessBlockConfiguration>",
        "requestPayment": "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>",
        "encryption": "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>"
        "AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
        "logging": LOG_TO,
    }
    for name, body in bodies.items():
        place = "/{kept}?" if name == "logging" else "/{bucket}?"
        yield Way(f"PUT ?{name}", "PUT", place + name, body=body, owner=204 if name == "policy" else 200)
    for name in ("policy", "cors", "lifecycle", "tagging", "publicAccessBlock", "encryption"):
        yield Way(f"DELETE ?{name}", "DELETE", "/{bucket}?" + name, owner=204)
    yield Way("DELETE ?replication", "DELETE", "/{bucket}?replication")
    enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    yield Way("PUT ?versioning", "PUT", "/{kept}?versioning", body=enabled)
    locks = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>"
    yield Way("PUT ?object-lock", "PUT", "/{kept}?object-lock", body=locks)
    for acl in ("public-read", "public-read-write", "authenticated-read"):
        yield Way(f"PUT ?acl {acl}", "PUT", "/{bucket}?acl", {"x-amz-acl": acl})
    yield Way("PUT ?acl, a grant", "PUT", "/{bucket}?acl", {"x-amz-grant-full-control": "id=bob"})
    yield Way("write the log into it", "PUT", "/{own}?logging", body=LOG_TO)
    yield Way("flush its log", "POST", "/{kept}?logging")
    yield Way("create it again", "PUT", "/{bucket}", said=(409, "BucketAlreadyExists"))
    yield Way("create it again by a setting", "PUT", "/{bucket}?nothing", said=(409, "BucketAlreadyExists"))
    yield Way("DELETE the bucket by a setting", "DELETE", "/{empty}?nothing", owner=204)
    yield Way("DELETE the bucket", "DELETE", "/{empty}", owner=204)


# How else bob may name her object, in a request that he signs: target, headers, and whether it opens it to alice.
SPELLINGS: dict[str, tuple[str, dict[str, str], bool]] = {
    "no tenant": ("/:{bucket}/{key}", {}, True),
    "no tenant, in hexadecimal": ("/%3A{bucket}/{key}", {}, True),
    "her tenant": ("/alice:{bucket}/{key}", {}, False),
    "her tenant, in hexadecimal": ("/alice%3A{bucket}/{key}", {}, False),
    "her tenant by a dollar": ("/alice${bucket}/{key}", {}, False),
    "her tenant by a slash": ("/alice%2F{bucket}/{key}", {}, False),
    "up from his own": ("/{own}/../{bucket}/{key}", {}, False),
    "up from his own, in hexadecimal": ("/{own}/%2e%2e/{bucket}/{key}", {}, False),
    "two slashes": ("//{bucket}/{key}", {}, False),
    "a dot": ("/./{bucket}/{key}", {}, False),
    "a slash in hexadecimal": ("/{bucket}%2F{key}", {}, True),
    "an end after his own": ("/{own}%00/{bucket}/{key}", {}, False),
    "an end after hers": ("/{bucket}/{key}%00", {}, False),
    "by its host": ("/{key}", {"host": "{bucket}.{host}"}, False),
    "by its host alone": ("/{key}", {"host": "{bucket}"}, False),
    "by a forwarded host": ("/{key}", {"X-Forwarded-Host": "{bucket}.{host}"}, False),
    "as alice": ("/{bucket}/{key}?rgwx-uid=alice", {}, True),
    "as alice, checked for her": ("/{bucket}/{key}?rgwx-perm-check-uid=alice", {}, True),
    "as a gateway": ("/{bucket}/{key}?rgwx-stat=true&rgwx-zonegroup=default", {"Rgwx-Uid": "alice"}, True),
    "as a gateway that copies": ("/{bucket}/{key}?rgwx-prepend-metadata=default&rgwx-skip-decrypt=true", {}, True),
    "for her tenant": ("/{bucket}/{key}?tenantId=alice", {"x-rgw-tenant": "alice"}, True),
    "by Swift's token": ("/{bucket}/{key}", {"X-Auth-Token": "AUTH_rgwtkalice", "X-Auth-User": "alice"}, True),
    "with a session's token": ("/{bucket}/{key}", {"x-amz-security-token": "alice"}, True),
    "by another method": ("/{bucket}/{key}", {"X-HTTP-Method-Override": "GET"}, True),
    "paying for it": ("/{bucket}/{key}", {"x-amz-request-payer": "requester"}, True),
    "as who owns it": ("/{bucket}/{key}", {"x-amz-expected-bucket-owner": "alice"}, True),
    "a torrent": ("/{bucket}/{key}?torrent", {}, False),
    "as a page": ("/{bucket}/?website", {}, False),
    "from the machine": ("/{bucket}/{key}", {"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1"}, True),
}
# Where bob may say that a copy comes from, and whether that names it to alice.
SOURCES = {
    "{bucket}/{key}": True,
    "/{bucket}/{key}": True,
    "//{bucket}/{key}": False,
    ":{bucket}/{key}": True,
    "/:{bucket}/{key}": True,
    "alice:{bucket}/{key}": False,
    "alice/{bucket}/{key}": False,
    "%2F{bucket}%2F{key}": True,
    "/{bucket}%2F{key}": True,
    "/{own}/../{bucket}/{key}": False,
    "/{bucket}/{key}?versionId=null": True,
    "/{bucket}/{key}?versionId=": True,
    "/{kept}/{key}": True,
    "/{kept}/{key}?versionId={version}": True,
    "arn:aws:s3:::{bucket}/{key}": False,
}
# Names of buckets that bob may ask for, and what he is told.
NAMES = {
    "alice": (409, "BucketAlreadyExists"),
    "{bucket}": (409, "BucketAlreadyExists"),
    ":{bucket}": (409, "BucketAlreadyExists"),
    "%3A{bucket}": (409, "BucketAlreadyExists"),
    "alice:{bucket}": DENIED,
    "alice:{bucket}-new": DENIED,
    "alice%3A{bucket}-new": DENIED,
    "bob:new": DENIED,
    "alice%2F{bucket}-new": DENIED,
    "{bucket}%2F..": DENIED,
    "alice${bucket}-new": (400, "InvalidBucketName"),
    "bob%24{bucket}-new": (400, "InvalidBucketName"),
    "{bucket}.": (400, "InvalidBucketName"),
    ".{bucket}": (400, "InvalidBucketName"),
    "{bucket}%20": (400, "InvalidBucketName"),
    "%2e%2e": (400, "InvalidBucketName"),
    "{bucket}%00new": (400, "InvalidRequest"),
    "../{bucket}": (404, "NoSuchBucket"),
    "admin": (405, "MethodNotAllowed"),
    "admin/user?uid=attack-new&display-name=new": DENIED,
}
