"""A researcher who is made for a test: everything that they have, and what is left of it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from hub_session import HubSession
from machines import FACILITY, MACHINES, STORES, ask, run_on
from researcher import Researcher
from site_run import PlayRun, play

from appliance.researcher.environment import AUTHORITIES

PASSWORD = "a-password-of-the-tests"
KNOWN = ({"name": "alice", "uid": 2001, "groups": ["climate"]}, {"name": "bob", "uid": 2002, "groups": ["climate"]})
S3 = """
import botocore.config, botocore.exceptions, botocore.session, hashlib, sys
style = botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
verb, endpoint, bucket, key = sys.argv[1:]
s3 = botocore.session.get_session().create_client("s3", endpoint_url=endpoint, region_name="us-east-1", config=style)
try:
    if verb == "put":
        s3.put_object(Bucket=bucket, Key=key, Body=b"of " + key.encode() * 1000)
        print("done")
    else:
        print(hashlib.sha256(s3.get_object(Bucket=bucket, Key=key)["Body"].read()).hexdigest())
except botocore.exceptions.ClientError as error:
    print(error.response["ResponseMetadata"]["HTTPStatusCode"])
"""


class Leaver(Researcher):
    """A researcher who is made for a test, and may not be there any more at the end."""

    def __enter__(self) -> Leaver:
        self._hub.log_in(PASSWORD)
        _, token = self._hub.token(self._seconds)
        self._token_file = f"/run/test-token-{self.user}"
        self.facility.run("head1", "install", "-m", "0400", "/dev/stdin", self._token_file, given=token.encode())
        return self

    def __exit__(self, *_: object) -> None:
        self.facility.run("head1", "rm", "-f", self._token_file)


def researchers(*entries: dict[str, Any], playbook: str = "researchers.yml", **variables: Any) -> PlayRun:
    """Run a playbook with these researchers beside alice and bob, whose passwords are as they are."""
    passwords = {**{user["name"]: "" for user in KNOWN}, **{entry["name"]: PASSWORD for entry in entries}}
    return play(playbook, accounts_users=[*KNOWN, *entries], accounts_passwords=passwords, **variables)


def object_of(keys: str, bucket: str, key: str, machine: str = "head1", verb: str = "get", port: int = 0) -> str:
    """Put an object, or give the digest of one, with a file of keys on a machine; the status where that is refused."""
    at = f"http://127.0.0.1:{port or FACILITY.facts['s3_endpoint_port']}"
    program = f"AWS_SHARED_CREDENTIALS_FILE={keys} /opt/appliance/analysis/bin/python -"
    return ask(machine, f"{program} {verb} {at} {bucket} {key}", given=S3).strip()


def token_status(path: str, token: str) -> int:
    """The status with which the hub's public address answers to a token."""
    front = FACILITY.front
    origin = front.of(path.split("/")[2]) if path.startswith("/user/") else front.url
    asked = urllib.request.Request(f"{origin}{path}", headers={"Authorization": f"token {token}"})  # noqa: S310
    try:
        with front.opener().open(asked, timeout=30) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def dask_status(token: str) -> int:
    """The status with which the Dask gateway answers to a token of the hub's, on the head."""
    url = f"{FACILITY.facts['gateway_url']}/services/dask-gateway/api/v1/clusters/"
    curl = f"curl --silent --noproxy '*' --cacert {AUTHORITIES} --output /dev/null --write-out '%{{http_code}}'"
    return int(ask("head1", f"{curl} --header @- {url}", given=f"Authorization: jupyterhub {token}"))


def log_in(name: str) -> HubSession:
    """A session at the hub; raises `urllib.error.HTTPError` where the log-in is refused."""
    session = HubSession(FACILITY.front, name)
    session.log_in(PASSWORD)
    return session


def token_of(session: HubSession) -> str:
    """A token of the hub's for whoever has logged in."""
    found: str = json.loads(session.ask(f"/hub/api/users/{session.user}/tokens", data=b'{"expires_in": 1200}'))["token"]
    return found


def running(uid: int) -> dict[str, list[str]]:
    """The processes of a uid, by machine; machines without one are not there."""
    found = {machine: ask(machine, f"ps -o pid=,args= -u {uid}", check=False).splitlines() for machine in MACHINES}
    return {machine: lines for machine, lines in found.items() if lines}


def digests(folder: str, machine: str = "head1") -> list[str]:
    """The digests of all files below a folder, with their names."""
    return ask(machine, f"cd {folder} && find . -type f -print0 | sort -z | xargs -0 sha256sum").splitlines()


def owner(bucket: str) -> str:
    """Whose bucket it is."""
    found: str = json.loads(ask(STORES[0], f"radosgw-admin bucket stats --bucket {bucket}"))["owner"]
    return found


def forget(*entries: dict[str, Any]) -> None:
    """Remove all that tests made for these people, and run the playbook for those who stay."""
    remove(*entries)
    done = researchers()
    assert done.status == 0, done.said[-2000:]


def remove(*entries: dict[str, Any]) -> None:
    """Remove all that tests made for these people."""
    for entry in entries:
        name, uid = entry["name"], entry["uid"]
        for machine in MACHINES:
            run_on(machine, f"systemctl stop notebooks-{uid}.slice compute-{uid}.slice")
            run_on(machine, f"pkill -KILL -u {uid}; userdel --force --remove {name}; groupdel {name}")
            ask(machine, f"rm -rf /etc/appliance/s3/{name} /home/{name} /srv/test-archive")
        run_on(STORES[0], f"radosgw-admin user enable --uid {name}")
        run_on(STORES[0], f"radosgw-admin user rm --uid {name} --purge-data")
        ask(STORES[0], f"rm -f /var/lib/appliance/leaving/{name}.json")
        run_on("head1", f"curl -fsS -X DELETE -H \"Authorization: token $(cat /var/lib/jupyterhub/operator-token)\" "
               f"http://127.0.0.1:{FACILITY.facts['jupyterhub_hub_port']}/hub/api/users/{name}")  # fmt: skip
    run_on(STORES[0], "radosgw-admin user rm --uid appliance-archive --purge-data")
