"""The report: why reads were remote, what crossed the network, and that the figures add up."""

from __future__ import annotations

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from stand_in import SIX, Maps, StandIn, facility, holders

from appliance.compute.reading.read_counter import ReadCounter
from appliance.compute.reporting.collect import ReadCollector
from appliance.compute.reporting.reasons import why_remote
from appliance.compute.reporting.report import build
from appliance.compute.reporting.transfers import Transfers
from appliance.compute.scheduling.expectations import Expectations


def counts(host: str, reads: dict[str, int], **more: Any) -> dict[str, Any]:
    return {"host": host, "reads": reads, "bytes": {kind: 10 * n for kind, n in reads.items()}, **more}


@pytest.mark.parametrize(
    ("kinds", "expected", "why"),
    [
        ({"local": 5, "replica": 4}, {"local": 9}, {}),
        ({"local": 5, "elsewhere": 4}, {"local": 5, "help": 4}, {"help": 4}),
        ({"elsewhere": 7}, {"no worker": 4, "several objects": 3}, {"no worker": 4, "several objects": 3}),
        # Expected to be local, and were not.
        ({"local": 5, "elsewhere": 4}, {"local": 8, "help": 1}, {"help": 1, "stale map": 3}),
        # Of these the scheduler knew nothing.
        ({"local": 5, "elsewhere": 4}, {"local": 5, "help": 1}, {"help": 1, "not placed": 3}),
        # What the worker itself knows the reason of.
        ({"fallback": 2, "elsewhere": 1}, {"local": 3}, {"stale map": 1, "other gateway": 2}),
        (
            {"unplaced": 1, "erasure": 2, "spread": 3, "elsewhere": 1},
            {"several objects": 4},
            {"several objects": 4, "EC pool": 2, "no map": 1},
        ),
        # A task that is not done is not noted yet, and one whose read failed was never counted.
        ({"elsewhere": 2}, {"help": 5}, {"help": 2}),
    ],
)
def test_every_remote_read_has_a_reason(kinds: dict[str, int], expected: dict[str, int], why: dict[str, int]) -> None:
    assert why_remote(kinds, expected) == why
    assert sum(why.values()) == sum(n for kind, n in kinds.items() if kind not in ("local", "replica"))


def test_reports_subtract_to_what_happened_in_between() -> None:
    before = build([counts("a", {"local": 3, "elsewhere": 1}, expected={"help": 1}, transfers={"sent": 5})])
    after = build(
        [
            counts("a", {"local": 4, "elsewhere": 3}, expected={"help": 1, "no worker": 2}, transfers={"sent": 9}),
            counts("b", {"replica": 2}, transfers={"received": 4, "results": 7}),
        ]
    )
    between = after - before
    assert (between.reads, between.bytes, between.local_share) == (5, 50, 3 / 5)
    assert between.reasons == {"no worker": 2}
    assert between.why_remote == {"elsewhere": 2}
    # Each byte once: what was received left another host, and was counted there.
    assert between.wire_bytes == 20 + 4 + 7
    assert [(row.bytes_in, row.bytes_out) for row in between.rows] == [(20, 4), (4, 7)]
    assert between.to_dict()["rows"][0]["reasons"] == {"no worker": 2}
    assert "2 no worker (no host of the data had a worker)" in str(between)
    assert "no worker" in between._repr_html_()


def test_what_a_report_shows_is_escaped() -> None:
    page = build([counts("<b>host", {"local": 3})])._repr_html_()
    assert "&lt;b&gt;host" in page
    assert "<b>host" not in page
    (table,) = ElementTree.fromstring(page).iter("tbody")  # noqa: S314 - our own
    assert [[cell.text for cell in line] for line in table] == [
        [name, "3", "3", "0", "0", "0.0", "0.0", "0.0"] for name in ("<b>host", "all")
    ]


def test_a_worker_knows_what_no_host_holds_completely() -> None:
    class Map:
        chunk_bytes = 100

        def hosts(self, _bucket: str, keys: list[str]) -> list[tuple[str, ...]]:
            return [()] * len(keys)

        def pool_of(self, bucket: str) -> Any:
            return SimpleNamespace(erasure=bucket == "cold")

    class Ranges:
        def hosts_of_ranges(self, _bucket: str, ranges: list[Any]) -> list[tuple[tuple[str, int], ...]]:
            return [(("me", 6), ("other", 4))] * len(ranges)

    counter = ReadCounter("me", lambda _: Map(), Ranges)
    counter.add("cold", "key", 10, "me")
    counter.add("warm", "key", 10, "me")
    counter.add("warm", "file", 10, "me", 5, size=101)
    assert counter.settle()["reads"] == {"erasure": 1, "unplaced": 1, "spread": 1}


def test_what_leaves_a_host_is_counted_once_and_by_direction() -> None:
    def entry(who: str | None, total: int, compressed: int | None = None) -> dict[str, Any]:
        return {"who": who, "total": total, "compressed": compressed}

    incoming: deque[dict[str, Any]] = deque(maxlen=3)
    outgoing: deque[dict[str, Any]] = deque(maxlen=3)
    worker = SimpleNamespace(
        address="tls://10.0.0.1:40001",
        scheduler=SimpleNamespace(address="tls://10.0.0.2:8786"),
        transfer_incoming_log=incoming,
        transfer_outgoing_log=outgoing,
        handlers={},
    )
    transfers = Transfers(worker)
    incoming += [entry("tls://10.0.0.3:1", 100), entry("tls://10.0.0.1:40002", 1000)]
    outgoing += [entry("tls://10.0.0.10:1", 200, 150), entry(None, 30, 40), entry("tls://10.0.0.1:40002", 1000, 1000)]
    expected = {"received": 100, "sent": 150, "results": 40, "shards": 0}
    assert transfers.settle() == expected
    assert transfers.settle() == expected  # the same entries count once, in a log that forgets as well
    outgoing += [entry("tls://10.0.0.3:1", 1, 1)]
    assert transfers.settle() == {**expected, "sent": 151}
    worker.scheduler.address = "tls://10.0.0.1:8786"
    outgoing += [entry(None, 30, 40)]
    assert transfers.settle()["results"] == 40


def test_shards_of_a_rechunk_are_counted_where_they_come_in() -> None:
    taken: list[dict[str, Any]] = []

    async def receive(**message: Any) -> str:
        taken.append(message)
        return "OK"

    worker = SimpleNamespace(
        address="tls://10.0.0.1:40001", transfer_incoming_log=[], transfer_outgoing_log=[], handlers={}
    )
    transfers = Transfers(worker)
    assert transfers.settle()["shards"] == 0  # before the worker has met its scheduler
    worker.handlers["shuffle_receive"] = receive
    for _ in range(2):  # its handler is taken the place of once
        transfers.settle()
    message = {"data": bytes(1000), "shuffle_id": "s", "run_id": 1}
    for peer in ("tls://10.0.0.2:50001", "tls://10.0.0.1:50001"):
        handler = worker.handlers["shuffle_receive"]
        assert asyncio.run(handler(SimpleNamespace(peer_address=peer), **message)) == "OK"
    assert taken == [message, message]
    assert 1000 <= transfers.settle()["shards"] < 1100
    report = build([counts("a", {}, transfers={"shards": 1000})])
    assert (report.wire_bytes, report.rows[0].bytes_in, report.rows[0].bytes_out) == (1000, 1000, 0)


def _noted(made: Any) -> dict[str, int]:
    """The scheduler's notes, summed over the workers, those with any."""
    workers = [made.plugin.expectations.of(worker.id) for worker in made.workers.values()]
    sums = {name: sum(notes.get(name, 0) for notes in workers) for name in ("local", "no worker", "help")}
    sums["several objects"] = sum(notes.get("several objects", 0) for notes in workers)
    return {name: n for name, n in sums.items() if n}


def test_the_scheduler_expects_what_is_local_and_what_is_not() -> None:
    async def run() -> None:
        async with facility(*SIX) as made:
            await made.client.compute(StandIn("even", 60).array().sum())
            assert _noted(made).get("local", 0) + _noted(made).get("help", 0) == 60
            before = _noted(made)
            # Two objects a task: both on one host for few of them.
            await made.client.compute(StandIn("pairs", 60, replicas=2).array(per_task=2).sum())
            whole = sum(bool({*holders(f"pairs/{n}")} & {*holders(f"pairs/{n + 1}")}) for n in range(0, 60, 2))
            after = _noted(made)
            several = after.get("several objects", 0)
            helped = (after.get("help", 0) - before.get("help", 0)) // 2
            assert 30 - whole - helped <= several <= 30 - whole
            assert sum(after.values()) == 120

    asyncio.run(run())


def test_reads_without_a_worker_on_their_hosts_are_told_from_help() -> None:
    async def run() -> None:
        async with facility(SIX[0], maps=Maps()) as made:
            await made.client.compute(StandIn("alone", 40).array().sum())
            local = sum(SIX[0] in holders(f"alone/{n}") for n in range(40))
            assert _noted(made) == {"local": local, "no worker": 40 - local}

    asyncio.run(run())


def test_help_is_told_as_help() -> None:
    ws = SimpleNamespace(server_id="w", host="c")
    place = SimpleNamespace(hosts=("a", "b"), restriction={"a", "b"}, reads=2, remote_reads=0)
    expectations = Expectations()
    expectations.note(place, ws, {"a", "c"})
    expectations.note(place, ws, {"c"})
    expectations.note(place, SimpleNamespace(server_id="w", host="a"), {"a", "c"})
    expectations.note(place, None, {"a", "c"})
    assert expectations.of("w") == {"local": 2, "help": 2, "no worker": 2, "several objects": 0}
    assert expectations.of("unknown") == {}


def test_the_schedulers_report_joins_heartbeats_with_what_it_expected() -> None:
    expectations = Expectations()
    ws = SimpleNamespace(server_id="w", host="c")
    expectations.note(SimpleNamespace(hosts=("a",), restriction={"a"}, reads=1, remote_reads=0), ws, {"a", "c"})
    gathered = ReadCollector(None, expectations)
    gathered.heartbeat(ws, {})
    assert gathered.report().reads == 0
    gathered.heartbeat(ws, counts("host-c", {"elsewhere": 1}))
    assert gathered.report().reasons == {"help": 1}
