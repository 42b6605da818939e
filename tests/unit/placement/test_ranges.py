"""Ranges of bytes from a researcher's process to the hosts: client, service, reader and gateway, over real sockets."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gateway_users import Everyone
from recorded_objects import RECORDED, RULES, FixedMap, Storage, recorded_map
from served import served

from appliance.placement import MapClient, ObjectLookup, PlacementUnavailable, Ranges
from appliance.placement.auth.sigv4 import Keys
from appliance.placement.client.listing import S3Object
from appliance.placement.client.ranges import hosts_of_pieces
from appliance.placement.http_endpoint import HttpResponse
from appliance.placement.model.layout_json import encode_layout
from appliance.placement.model.object_layout import Layout, Piece
from appliance.placement.service.app import PlacementService
from appliance.placement.service.layout_lookup import LayoutLookup, ManifestSocket


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    made = Storage(tmp_path)
    yield made
    made.close()


@pytest.fixture
def url(storage: Storage) -> Iterator[str]:
    service = PlacementService(FixedMap(), LayoutLookup(ManifestSocket(storage.path, timeout=5), RULES), Everyone())
    with served(service) as running:
        yield running.url


@pytest.fixture
def lookup(storage: Storage) -> Iterator[ObjectLookup]:
    url = f"http://127.0.0.1:{storage.port}"
    with closing(ObjectLookup(url, Keys("access", "secret"))) as made:
        yield made


@pytest.fixture
def ranges(url: str, lookup: ObjectLookup) -> Ranges:
    return Ranges(MapClient(url), lookup)


def expected(entry: dict[str, Any], offset: int, length: int) -> dict[str, int]:
    """Bytes of a range by host, from what Ceph says of the object."""
    cluster_map, found = recorded_map(), {}
    for start, size, name, locator in entry["objects"]:
        stop = min(start + size, entry["size"], offset + length)
        for host in cluster_map.hosts_of_names(7, [locator or name])[0]:
            if stop > max(start, offset):
                found[host] = found.get(host, 0) + stop - max(start, offset)
    return found


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: f"{entry['bucket']} {entry['key']}")
def test_every_kind_of_object_is_placed_by_the_stripes_that_a_range_touches(
    ranges: Ranges, entry: dict[str, Any]
) -> None:
    key, size = entry["key"], entry["size"]
    asked = [(key, 0, size), (key, size // 2, 7), (key, size - 1, 100), (key, size // 3, size // 2)]
    found = ranges.hosts_of_ranges(entry["bucket"], asked)
    assert [dict(hosts) for hosts in found] == [expected(entry, *one[1:]) for one in asked]
    for hosts in found:
        assert [count for _, count in hosts] == sorted((count for _, count in hosts), reverse=True)


def test_a_layout_is_asked_for_once_in_bulk_and_remembered(ranges: Ranges, storage: Storage) -> None:
    asked = [(entry["key"], 0, 10) for entry in RECORDED if entry["bucket"] == "alice"]
    first = ranges.hosts_of_ranges("alice", [*asked, *asked])
    assert len(storage.asked) == len(
        [entry for entry in RECORDED if len(entry["objects"]) > 1 and entry["bucket"] == "alice"]
    )
    assert sorted(storage.looked_up) == sorted(key for key, _, _ in asked)
    assert ranges.hosts_of_ranges("alice", [*asked, *asked]) == first
    assert len(storage.looked_up) == len(asked)
    ranges.clock = lambda: 1e9
    assert ranges.hosts_of_ranges("alice", [*asked, *asked]) == first
    assert len(storage.looked_up) == 2 * len(asked), "the object may have been replaced since"
    assert len(storage.asked) == 6, "the same etag and time have the same layout"


def test_what_is_not_known_is_not_guessed(ranges: Ranges) -> None:
    assert ranges.hosts_of_ranges("alice", [("nobody", 0, 5), ("_plprobe/small", 0, 0)]) == [(), ()]
    assert ranges.hosts_of_ranges("no such bucket", [("k", 0, 5)]) == [()]
    assert ranges.hosts_of_ranges("alice", []) == []
    with pytest.raises(ValueError, match="offset -1"):
        ranges.hosts_of_ranges("alice", [("_plprobe/small", -1, 5)])


@pytest.mark.parametrize("fault", ["dies", "babbles", "garbage"])
def test_a_reader_that_fails_leaves_large_objects_unknown_and_small_ones_placed(
    ranges: Ranges, storage: Storage, fault: str
) -> None:
    storage.fault = fault
    large, small = ranges.hosts_of_ranges("alice", [("_plprobe/parts", 0, 9), ("_plprobe/small", 0, 9)])
    assert large == ()
    assert len(small) == 2
    storage.fault = ""
    assert len(ranges.hosts_of_ranges("alice", [("_plprobe/parts", 0, 9)])[0]) == 2, "it is asked anew"


def test_without_the_service_ranges_are_unknown_and_it_is_left_alone_for_a_while(
    url: str, lookup: ObjectLookup
) -> None:
    class Dead(MapClient):
        calls = 0

        def layouts(self, *_: object) -> list[Layout | None]:
            self.calls += 1
            raise PlacementUnavailable("gone")

    maps = Dead(url)
    ranges = Ranges(maps, lookup)
    for _ in range(3):
        assert ranges.hosts_of_ranges("alice", [("_plprobe/parts", 0, 9)]) == [()]
    assert maps.calls == 1


def test_who_does_not_know_the_etag_learns_nothing(url: str) -> None:
    entry = next(one for one in RECORDED if one["key"] == "_plprobe/parts")
    maps = MapClient(url)
    assert maps.layouts("alice", [(entry["key"], "", "0" * 32 + "-4"), (entry["key"], "", "")]) == [None, None]
    found = maps.layouts("alice", [(entry["key"], "", f'"{entry["etag"]}"')])[0]
    assert found is not None
    assert found.bytes == entry["size"]
    assert maps.layouts("nobody's", [(entry["key"], "", entry["etag"])]) == [None]


def test_an_object_of_another_length_than_its_layout_is_unknown(url: str) -> None:
    entry = next(one for one in RECORDED if one["key"] == "_plprobe/parts")
    compressed = S3Object(entry["key"], entry["size"] * 3, entry["etag"])
    ranges = Ranges(MapClient(url), lambda _, keys: [compressed for _ in keys])
    assert ranges.hosts_of_ranges("alice", [(entry["key"], 0, 5)]) == [()]


def test_memory_has_a_limit(url: str) -> None:
    ranges = Ranges(MapClient(url), lambda _, keys: [S3Object(key, 5, "e") for key in keys], remembered=10)
    ranges.hosts_of_ranges("alice", [(str(number), 0, 5) for number in range(100)])
    assert len(ranges._seen) == 10


def test_pieces_in_an_erasure_coded_pool_have_no_hosts() -> None:
    pieces = [Piece(0, 5, 8, "a", "a"), Piece(5, 5, 99, "b", "b"), Piece(10, 7, 7, "c", "c")]
    hosts = hosts_of_pieces(recorded_map(), [pieces])[0]
    assert {count for _, count in hosts} == {7}


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_json_is_refused(url: str, body: bytes) -> None:
    with pytest.raises(PlacementUnavailable, match="answered 400"):
        posted(MapClient(url), body)


def posted(maps: MapClient, body: bytes) -> None:
    """Send a body of the test's own."""
    answer = maps._ask_as_user("POST", "/v1/layouts", {}, body)
    if answer.status != 200:
        raise PlacementUnavailable(f"answered {answer.status} {answer.body.decode()}")


def test_a_layout_of_another_object_is_not_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = next(one for one in RECORDED if one["key"] == "_plprobe/parts")
    layout = MapClient(url).layouts("alice", [(entry["key"], "", entry["etag"])])[0]
    assert layout is not None
    for lie in (encode_layout(replace(layout, etag="other")), {**encode_layout(layout), "rules": []}, 7):
        monkeypatch.setattr(MapClient, "_ask_as_user", answering({"layouts": [lie]}))
        assert MapClient(url).layouts("alice", [(entry["key"], "", entry["etag"])]) == [None]
    monkeypatch.setattr(MapClient, "_ask_as_user", answering({"layouts": []}))
    with pytest.raises(PlacementUnavailable, match="asked for 1 layouts"):
        MapClient(url).layouts("alice", [(entry["key"], "", entry["etag"])])


def answering(document: object) -> Callable[..., HttpResponse]:
    """A service that answers everything so."""
    return lambda *_: HttpResponse(200, "OK", {}, json.dumps(document).encode())
