"""Buckets that are made with their owners' keys, and the policy by which scratch expires."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field

from ansible.module_utils.ceph_cli import CephError, Cluster, Run

SCRATCH = "-scratch"  # behind the owner's name; appliance/compute/reading/scratch.py knows it too
JOB = "appliance-scratch"  # the S3 user of the job that removes what has expired (role `scratch`)


class RefusedError(CephError):  # type: ignore[misc]  # Ansible's modules are not followed
    """The gateway refuses a request; the message has its words."""


@dataclass(frozen=True)
class Owner:
    """Who asks a gateway: its address, and an S3 user's name and keys."""

    run: Run
    endpoint: str
    name: str
    access: str
    secret: str = field(repr=False)

    def ask(self, method: str, target: str, body: str = "") -> str:
        """Send a request and return the answer's body; raises RefusedError where it is none of success.

        curl signs the request. The keys reach it over its standard input: every account can read a command's arguments.
        """
        settings = {
            "url": f"{self.endpoint}/{target}",
            "request": method,
            "user": f"{self.access}:{self.secret}",
            "aws-sigv4": "aws:amz:us-east-1:s3",
            "noproxy": "*",
            "max-time": "60",
        }
        if body:
            # Said by itself: some versions of curl leave it out, and the gateway takes no body without it.
            digest = hashlib.sha256(body.encode()).hexdigest()
            settings |= {"data-binary": body, "header": f"x-amz-content-sha256: {digest}"}
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        status: int
        out: str
        err: str
        status, out, err = self.run(["curl", "--config", "-"], data="\n".join([*lines, *QUIET]))
        if status != 0:
            raise RefusedError(f"{err.strip()} {out.strip()}")
        return out

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket of the owner's; raises CephError if the gateway does not."""
        try:
            self.ask("PUT", bucket)
        except RefusedError as error:
            raise RefusedError(f"{self.endpoint} did not make bucket {bucket}: {error}") from error

    def scratch(self, cluster: Cluster, buckets: Collection[str], check: bool) -> tuple[bool, str]:
        """Make sure of the owner's scratch bucket, one of all ``buckets`` already or none of them.

        A bucket with something in it that was not made for this stays as it is: what is there was not put there to
        expire. So does one whose owner has taken the job's right away.

        Returns:
            whether anything changed, and why nothing expires there; "" where it does.

        Raises:
            CephError: the gateway or the cluster does not do what is asked.
        """
        bucket = f"{self.name}{SCRATCH}"
        if bucket not in buckets:
            if not check:
                try:
                    self.make_bucket(bucket)
                except RefusedError as error:
                    if "TooManyBuckets" not in str(error):
                        raise
                    return False, f"{self.name} has as many buckets as they may have"
                self._let_expire(bucket)
            return True, ""
        shown = cluster.rgw("bucket", "stats", "--bucket", bucket)
        if shown["owner"] != self.name:
            return False, f"it belongs to {shown['owner']}"
        policy = self._policy(bucket)
        if any(one.get("Sid") == JOB for one in policy.get("Statement", [])):
            return False, ""
        if policy or any(part.get("num_objects") for part in shown.get("usage", {}).values()):
            return False, f"{self.name} made it, or has taken the facility's right to remove what is in it away"
        if not check:
            self._let_expire(bucket)
        return True, ""

    def _policy(self, bucket: str) -> dict[str, list[dict[str, str]]]:
        try:
            found: dict[str, list[dict[str, str]]] = json.loads(self.ask("GET", f"{bucket}?policy="))
        except RefusedError as error:
            if "NoSuchBucketPolicy" in str(error):
                return {}
            raise
        return found

    def _let_expire(self, bucket: str) -> None:
        """Let the job list what is there and remove it, and read nothing of it."""
        arn = f"arn:aws:s3:::{bucket}"
        statement = {
            "Sid": JOB,
            "Effect": "Allow",
            "Principal": {"AWS": [f"arn:aws:iam:::user/{JOB}"]},
            "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:DeleteObject", "s3:AbortMultipartUpload"],
            "Resource": [arn, f"{arn}/*"],
        }
        self.ask("PUT", f"{bucket}?policy=", json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


QUIET = ("silent", "show-error", "fail-with-body")
