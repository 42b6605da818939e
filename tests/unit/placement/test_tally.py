"""A dataset's objects placed and summed up."""

from collections.abc import Sequence

from example_map import MARKER, document

from appliance.placement import PlacementMap
from appliance.placement.client.listing import S3Object
from appliance.placement.client.ranges import simple_layout, tells_by_name
from appliance.placement.client.tally import Tally, notes, records
from appliance.placement.model.map_json import decode_map
from appliance.placement.model.object_layout import Layout, Piece, Rule

MIB = 2**20


def nothing_larger(cluster_map: PlacementMap, bucket: str, page: Sequence[S3Object]) -> list[Layout | None]:
    """LayoutLookup of objects of one RADOS object each; nobody is asked for others."""
    return [
        simple_layout(cluster_map, bucket, entry) if tells_by_name(cluster_map, bucket, entry) else None
        for entry in page
    ]


def test_sums_are_those_of_the_single_objects() -> None:
    cluster_map = decode_map(document())
    page = [S3Object(f"c/{number}", 1000 + number) for number in range(1000)]
    tally = Tally(cluster_map, "alice", nothing_larger)
    tally.add(page[:400])
    tally.add(page[400:])
    hosts = cluster_map.hosts("alice", [entry.key for entry in page])
    for share in tally.shares():
        first = [entry.bytes for entry, row in zip(page, hosts, strict=True) if row[0] == share.host]
        held = [entry.bytes for entry, row in zip(page, hosts, strict=True) if share.host in row]
        assert (share.primary_objects, share.primary_bytes) == (len(first), sum(first))
        assert (share.objects, share.bytes) == (len(held), sum(held))
    assert notes(tally) == []


def in_stripes(entry: S3Object, pool: int = 7) -> Layout:
    """A layout of stripes of 64 MiB in a pool, without a head."""
    head = Piece(0, 0, 7, f"{MARKER}_{entry.key}", f"{MARKER}_{entry.key}")
    rule = Rule(0, 0, 0, 64 * MIB)
    return Layout(entry.etag, entry.bytes, head, 0, 0, f".{entry.key}_", MARKER, "", pool, (rule,))


def test_large_objects_are_counted_stripe_by_stripe_in_whatever_pool() -> None:
    cluster_map = decode_map(document())
    layouts = {"large": in_stripes(S3Object("large", 200 * MIB)), "other": in_stripes(S3Object("other", MIB, "x-2"), 9)}
    layouts["strange"] = in_stripes(S3Object("strange", MIB, "z-2"), pool=77)
    tally = Tally(cluster_map, "alice", lambda *asked: [layouts.get(entry.key) for entry in asked[2]])
    page = [S3Object("large", 200 * MIB), S3Object("other", MIB, "x-2"), S3Object("lost", 5 * MIB, "y-3")]
    page.append(S3Object("strange", MIB, "z-2"))
    placed = tally.add(page)
    pieces = [piece for one in placed[:2] for piece, _ in one.pieces or ()]
    assert [piece.bytes for piece in pieces] == [64 * MIB] * 3 + [8 * MIB, MIB]
    for share in tally.shares():
        rows = [(piece, cluster_map.hosts_of_names(piece.pool, [piece.locator])[0]) for piece in pieces]
        assert share.bytes == sum(piece.bytes for piece, row in rows if share.host in row)
        assert share.primary_bytes == sum(piece.bytes for piece, row in rows if row[:1] == (share.host,))
    assert (tally.unknown, tally.unknown_bytes, tally.bytes) == (2, 6 * MIB, 207 * MIB)
    assert "2 objects with 6291456 bytes are not counted" in " ".join(notes(tally))
    lines = list(records(cluster_map, "alice", placed))
    assert [line["whole"] for line in lines] == [False] * 4
    assert [piece["pgid"][0] for line in lines[:2] for piece in line["pieces"]] == ["7", "7", "7", "7", "9"]
    assert lines[0]["rados_name"] == f"{MARKER}_large"
    assert lines[0]["pieces"][0]["rados_name"] == f"{MARKER}__shadow_.large_0"
    assert "pieces" not in lines[2]


def test_an_object_of_one_rados_object_is_whole() -> None:
    cluster_map = decode_map(document())
    placed = Tally(cluster_map, "alice", nothing_larger).add([S3Object("a", 64 * MIB), S3Object("_empty", 0)])
    assert [line["whole"] for line in records(cluster_map, "alice", placed)] == [True, True]


def test_keys_alone_do_not_place_objects_of_a_bucket_that_keeps_versions() -> None:
    cluster_map = decode_map(document())
    tally = Tally(cluster_map, "lab/kept", nothing_larger)
    placed = tally.add([S3Object("a", 1), S3Object("a", 1, version="v1"), S3Object("a", 1, version="null")])
    assert placed[0].pieces is None
    names = [line["rados_name"] for line in records(cluster_map, "lab:kept", placed[1:])]
    assert names == ["f5a2.4137.4__:v1_a", "f5a2.4137.4_a"]


def test_groups_that_no_host_serves_are_said() -> None:
    cluster_map = decode_map(document())
    tally = Tally(cluster_map, "broken", nothing_larger)
    placed = tally.add([S3Object(f"c/{number}", 1) for number in range(20)])
    lost = [pieces[0][1] for pieces in (one.pieces for one in placed) if pieces].count(0)
    assert 0 < lost < 20
    assert any(note.startswith(f"{lost} objects are in placement groups that no host serves") for note in notes(tally))
