"""The contract with Dask: the parts that its documentation does not promise are there, and as they were when read."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import distributed
import pytest
from distributed.scheduler import SchedulerState, TaskState, WorkerState
from distributed.stealing import WorkStealing
from sources import digest, function_of

from appliance.compute import distributed_parts
from appliance.compute.distributed_parts import READ_IN, USES, Use, complete, present

PACKAGE = Path(distributed_parts.__file__).parents[1]
SOURCES = sorted(set(PACKAGE.rglob("*.py")) - {Path(distributed_parts.__file__)})
PARTS = sorted({part for use in USES for part in use.parts})
# By a digest of its source, each function among the parts. When one has changed: read the new one, mend the modules
# that use it, and only then write the new digest here.
DIGESTS = {
    "dask._task_spec:Task.__call__": "25dac23de6d2",
    "dask._task_spec:Task.data_producer": "fbd5a784300e",
    "dask._task_spec:_execute_subgraph": "35e71645d121",
    "dask._task_spec:convert_legacy_graph": "a6afd45918fa",
    "dask.array.core:getter": "115361b4a683",
    "dask.array.core:getter_inline": "8f423eb8c410",
    "dask.array.core:getter_nofancy": "dc937bbc2af4",
    "dask.base:collections_to_expr": "fdc5bd52eaec",
    "dask_gateway.client:Gateway._cleanup": "96bca069a1ac",
    "dask_gateway.client:Gateway.close": "b911520671ca",
    "dask_gateway.client:GatewayCluster.close": "ab67e4ed37ac",
    "dask_gateway_server.backends.db_base:DBBackendBase._check_cluster_proxied": "69159f77c6a0",
    "dask_gateway_server.backends.db_base:DBBackendBase.do_check_clusters": "f50ed29b6616",
    "dask_gateway_server.backends.db_base:DBBackendBase.do_check_workers": "7c4138440495",
    "dask_gateway_server.backends.db_base:DBBackendBase.do_start_cluster": "62bc157d8f2f",
    "dask_gateway_server.backends.db_base:DBBackendBase.do_start_worker": "cfbc151dd10e",
    "dask_gateway_server.backends.db_base:DBBackendBase.do_stop_cluster": "5a17c9e54ebb",
    "dask_gateway_server.backends.db_base:DBBackendBase.do_stop_worker": "95947d2fefce",
    "dask_gateway_server.backends.db_base:DBBackendBase.on_cluster_heartbeat": "a65e514c54ed",
    "dask_gateway_server.proxy:Proxy.add_route": "982c3f73faf9",
    "dask_gateway_server.proxy:Proxy.remove_route": "d212180e7d73",
    "distributed.dashboard.components:add_periodic_callback": "c64be7002dee",
    "distributed.dashboard.utils:update": "00409e99bcf6",
    "distributed.node:ServerNode.start_http_server": "7c5b6280fc21",
    "distributed.scheduler:Scheduler._add_to_processing": "122c70fee451",
    "distributed.scheduler:Scheduler._transition": "b4f2e3463c03",
    "distributed.scheduler:Scheduler._transition_queued_erred": "078a5407511b",
    "distributed.scheduler:Scheduler._transition_queued_processing": "582686aa38d4",
    "distributed.scheduler:Scheduler._transition_queued_released": "424b18917344",
    "distributed.scheduler:Scheduler._transition_waiting_processing": "c7f0cf0e0bd3",
    "distributed.scheduler:Scheduler._transition_waiting_queued": "763381db5c4b",
    "distributed.scheduler:Scheduler.add_worker": "57f6af6e5d6c",
    "distributed.scheduler:Scheduler.bulk_schedule_unrunnable_after_adding_worker": "2205653be0e0",
    "distributed.scheduler:Scheduler.check_idle_saturated": "95e04f2ca593",
    "distributed.scheduler:Scheduler.decide_worker_rootish_queuing_enabled": "7280849e5a73",
    "distributed.scheduler:Scheduler.handle_task_finished": "f2459ffb4e7e",
    "distributed.scheduler:Scheduler.handle_worker_status_change": "206e18419a5c",
    "distributed.scheduler:Scheduler.is_rootish": "8ea0f7489699",
    "distributed.scheduler:Scheduler.remove_worker": "4ce0b53de299",
    "distributed.scheduler:Scheduler.stimulus_queue_slots_maybe_opened": "2aa9c5a70172",
    "distributed.scheduler:Scheduler.transitions": "edd9af11e5f3",
    "distributed.scheduler:Scheduler.valid_workers": "0e4c054c820b",
    "distributed.scheduler:WorkerState.clean": "825aa721b3e1",
    "distributed.shuffle._core:p2p_barrier": "59851f24f07c",
    "distributed.shuffle._rechunk:rechunk_transfer": "9e19989c3570",
    "distributed.shuffle._rechunk:rechunk_unpack": "93f90e75e405",
    "distributed.shuffle._worker_plugin:ShuffleWorkerPlugin.shuffle_receive": "dd840f36dd15",
    "distributed.stealing:WorkStealing._get_thief": "aeb1c5c596c6",
    "distributed.worker:Worker._update_metrics_received_data": "94323c1ed184",
    "distributed.worker:Worker.get_data": "71e40397bd12",
}
# Modules of Dask of which nothing is promised.
PRIVATE_MODULES = ("dask._", "dask.array.core", "distributed.dashboard", "distributed.shuffle", "dask_gateway_server")
TOUCHED = (SchedulerState, distributed.Scheduler, TaskState, WorkerState, distributed.Worker, distributed.Client)
NAMES = {name for cls in (*TOUCHED, WorkStealing) for name in dir(cls)}
PRIVATE_NAMES = {name for name in NAMES if re.fullmatch(r"_[A-Za-z]\w+", name)}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_there_and_is_what_was_read(part: str) -> None:
    users = ", ".join(use.module for use in USES if part in use.parts)
    assert present(part), f"distributed {distributed.__version__} lacks {part}, which {users} needs"
    function = function_of(part)
    assert (function is not None) == (part in DIGESTS), f"{part}: functions have a digest, others have none"
    if function is not None:
        assert digest(function) == DIGESTS[part], (
            f"{part} of distributed {distributed.__version__} is not that of {READ_IN}: "
            f"read it, mend {users}, then write the new digest"
        )


def test_every_digest_is_of_a_part() -> None:
    assert set(DIGESTS) <= set(PARTS)


@pytest.mark.parametrize("use", USES, ids=lambda use: use.module)
def test_a_use_names_its_module_and_what_is_done_without(use: Use) -> None:
    assert (PACKAGE.parent / f"{use.module.replace('.', '/')}.py").is_file()
    assert use.instead
    assert len(set(use.parts)) == len(use.parts)


def test_a_part_that_is_missing_is_said_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    gone = Use("some.module", ("distributed.scheduler:Scheduler.gone", "distributed.gone:x", PARTS[0]), "all is well")
    complete_use = Use("other.module", (PARTS[0],), "nothing")
    monkeypatch.setattr(distributed_parts, "USES", (gone, complete_use))
    complete.cache_clear()
    with caplog.at_level(logging.WARNING, "distributed.appliance.parts"):
        assert [complete("some.module"), complete("some.module"), complete("other.module")] == [False, False, True]
    complete.cache_clear()
    said = [record.getMessage() for record in caplog.records if record.name == "distributed.appliance.parts"]
    assert said == ["This version of Dask lacks distributed.scheduler:Scheduler.gone, distributed.gone:x: all is well"]


def private_uses(source: str) -> Iterator[str]:
    """The private parts of Dask that a module uses: names of parts, or of attributes of Dask's objects."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("dask", "distributed"):
            for name in node.names:
                if f"{node.module}.".startswith(PRIVATE_MODULES) or name.name.startswith("_"):
                    yield f"{node.module}:{name.name}"
        elif isinstance(node, ast.Attribute) and node.attr in PRIVATE_NAMES:
            owner = node.value
            is_own = isinstance(owner, ast.Name) and owner.id in ("self", "cls")
            if not is_own and not (isinstance(owner, ast.Call) and ast.unparse(owner.func) == "super"):
                yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in PRIVATE_NAMES:
            yield node.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_uses_no_private_part_that_is_not_registered(path: Path) -> None:
    module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    registered = {part for use in USES if use.module == module for part in use.parts}
    last_names = {part.rpartition(":")[2].rpartition(".")[2] for part in registered}
    used = set(private_uses(path.read_text()))
    unknown = {
        use
        for use in used
        if use not in last_names and not any(part == use or part.startswith(f"{use}.") for part in registered)
    }
    assert unknown == set(), f"{module} uses private parts of Dask that distributed_parts.py does not name"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from dask._task_spec import Task", ["dask._task_spec:Task"]),
        ("from distributed.utils import _maybe", ["distributed.utils:_maybe"]),
        ("from distributed.dashboard.utils import update", ["distributed.dashboard.utils:update"]),
        ("from distributed import Client\nfrom dask.typing import Key", []),
        ("scheduler._add_to_processing(ts, ws)", ["_add_to_processing"]),
        ("def f(self):\n    return self._transition", []),
        ("scheduler.__dict__.pop('_TRANSITIONS_TABLE')", ["_TRANSITIONS_TABLE"]),
    ],
)
def test_the_walk_finds_private_parts(source: str, found: list[str]) -> None:
    assert list(private_uses(source)) == found
