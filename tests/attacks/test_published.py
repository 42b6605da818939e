"""Bob against the catalogue and the public address: nobody's items are changed, forged or seen before their time."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from machines import FACILITY, until
from placement_rack import FACTS
from s3_requests import Request, presigned
from s3_scene import SECRET, Scene, scene

from appliance.data.cataloguing import believed
from appliance.data.cataloguing.search import COLLECTED, COLLECTED_BUCKET

FRONT = FACILITY.front
NAME = str(FACTS["catalogue_public_name"])
OPEN = (
    '{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", '
    '"Resource": "arn:aws:s3:::{}/*"}}]}}'
)


@pytest.fixture(scope="module")
def there() -> Iterator[Scene]:
    with scene() as made:
        for key in (believed.ITEMS, believed.PUBLISHED):
            assert made.alice.ask("PUT", made.fill("/{bucket}/" + key), b'{"features": []}').status == 200
        yield made
        for key in (believed.ITEMS, believed.PUBLISHED):
            made.alice.ask("DELETE", made.fill("/{bucket}/" + key))


def asked(path: str, method: str = "GET", host: str = NAME, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """What somebody outside is answered who asks for a host; the certificate is that of the public name."""
    connection = FRONT.connection(f"{NAME}:{FACTS['jupyterhub_public_port']}", timeout=30)
    own = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers={"Host": host, **own})
    answer = connection.getresponse()
    told = answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return told


@pytest.mark.parametrize("key", [believed.ITEMS, believed.PUBLISHED])
def test_bob_neither_reads_nor_writes_alices_items(there: Scene, key: str) -> None:
    target = there.fill("/{bucket}/" + key)
    before = there.alice.ask("GET", target)
    assert before.status == 200
    for method, body in (("PUT", b'{"features": [1]}'), ("DELETE", b""), ("GET", b"")):
        assert there.bob.ask(method, target, body).said == (403, "AccessDenied")
    assert there.alice.ask("GET", target).body == before.body


def test_bob_writes_nothing_of_what_the_facility_collects(there: Scene) -> None:
    for name in (COLLECTED, "index.html", "new"):
        assert there.bob.ask("PUT", f"/{COLLECTED_BUCKET}/{name}", b"bob's").said == (403, "AccessDenied")
        assert there.bob.ask("DELETE", f"/{COLLECTED_BUCKET}/{name}").said == (403, "AccessDenied")
    for what in ("policy", "acl"):
        assert there.bob.ask("PUT", f"/{COLLECTED_BUCKET}?{what}", OPEN.format(COLLECTED_BUCKET).encode()).status == 403
    assert there.bob.ask("GET", f"/{COLLECTED_BUCKET}/{COLLECTED}").status == 200


def item(url: str, title: str) -> dict[str, object]:
    asset = {"href": url, "type": believed.KINDS["zarr"]}
    properties = {"title": title, believed.OWNER: "alice"}
    return {"id": f"attack-{secrets.token_hex(4)}", "properties": properties, "assets": {"data": asset}}


def test_an_item_of_bobs_for_alices_data_is_not_collected(there: Scene) -> None:
    own, mark = there.fill("{own}", "bob"), secrets.token_hex(8)
    listed = [
        item(there.fill("s3://{bucket}/{key}"), f"forged {mark}"),
        item(f"s3://{own}/data.zarr", f'<script src="//{mark}"></script>'),
    ]
    body = json.dumps({"features": listed}).encode()
    assert there.bob.ask("PUT", f"/{own}/{believed.PUBLISHED}", body).status == 200
    assert there.bob.ask("PUT", f"/{own}?policy", OPEN.format(own).encode()).status in (200, 204)

    def collected() -> list[dict[str, Any]]:
        told = json.loads(there.bob.ask("GET", f"/{COLLECTED_BUCKET}/{COLLECTED}").body)
        return [one for one in told["features"] if mark in one["properties"]["title"]]

    try:
        (seen,) = until(collected)
        assert seen["properties"][believed.OWNER] == "bob"
        page = asked("/")[1].decode()
        assert mark in page
        assert f'<script src="//{mark}"' not in page
        assert f"forged {mark}" not in page
    finally:
        there.bob.ask("DELETE", f"/{own}?policy")
        there.bob.ask("DELETE", f"/{own}/{believed.PUBLISHED}")
    until(lambda: not collected())


def test_the_public_name_opens_nothing_that_is_not_everybodys(there: Scene) -> None:
    secret = there.fill("/{bucket}/{key}")
    signed = presigned(there.alice.signing(host=NAME), Request("GET", secret))
    plain = there.alice.send(presigned(there.alice.signing(), Request("GET", secret)))[0]
    assert plain.body == SECRET, "the control: on the S3 address such a link opens it"
    for path in (secret, signed.target, f"{secret}?acl", there.fill("/{bucket}"), there.fill("/{bucket}?list-type=2")):
        status, body, _ = asked(path)
        assert (status, SECRET in body) == (403, False), path
    for headers in ({"Authorization": plain.headers.get("authorization", "AWS x:y")}, {"Cookie": "a=b"}):
        assert asked(secret, **headers)[0] == 403


@pytest.mark.parametrize("name", ["data.bin", ".zmetadata", "a/zarr.json"])
def test_nobody_outside_learns_which_buckets_and_objects_there_are(there: Scene, name: str) -> None:
    nowhere = asked(f"/no-such-bucket-{secrets.token_hex(4)}/{name}")
    there_but_not_published = asked(there.fill("/{bucket}/") + name)
    assert nowhere[:2] == there_but_not_published[:2]
    assert nowhere[0] in (403, 404)


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "OPTIONS"])
def test_the_public_name_only_reads(there: Scene, method: str) -> None:
    assert asked(there.fill("/{bucket}/new"), method)[0] == 405


@pytest.mark.parametrize(
    "path", ["/admin/bucket", "/admin/user?uid=alice", "/swift/v1", "/hub/login", "/hub/api", "/user/bob/"]
)
def test_nothing_else_of_the_facility_is_at_the_public_name(path: str) -> None:
    status, body, headers = asked(path)
    assert status in (400, 403, 404), path
    assert "set-cookie" not in headers
    assert b"jupyter" not in body.lower()


def test_a_page_that_bob_publishes_has_no_origin(there: Scene) -> None:
    own = there.fill("{own}", "bob")
    assert there.bob.ask("PUT", f"/{own}/page.html", b"<script>1</script>", content_type="text/html").status == 200
    assert there.bob.ask("PUT", f"/{own}?policy", OPEN.format(own).encode()).status in (200, 204)
    try:
        status, body, headers = asked(f"/{own}/page.html")
        assert (status, body) == (200, b"<script>1</script>")
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
        assert headers["content-disposition"] == "attachment"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-cache"
        assert not [name for name in headers if name.startswith(("x-amz-", "x-rgw-", "x-appliance-"))]
    finally:
        there.bob.ask("DELETE", f"/{own}?policy")
    until(lambda: asked(f"/{own}/page.html")[0] == 403)


def test_the_page_has_no_origin_either() -> None:
    policy = asked("/")[2]["content-security-policy"]
    assert policy == "frame-ancestors 'none'; sandbox allow-scripts"


def test_names_below_the_public_one_are_nobodys() -> None:
    assert asked("/", host=f"bob.{NAME}")[0] == 421
