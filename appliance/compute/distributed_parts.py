"""The register of all parts of Dask that this package uses though Dask does not promise them.

Dask's documentation describes plugins, preloads, and some methods of scheduler and worker. What is used beyond that may
change in any release. Each such part stands here with the module that needs it and with what is done where it is
missing. ``tests/unit/compute/test_distributed_parts.py`` is the contract: it fails when a part is missing or has
changed, and when a module uses a private part that does not stand here.
"""

from __future__ import annotations

import functools
import importlib
import logging
from dataclasses import dataclass

logger = logging.getLogger("distributed.appliance.parts")

READ_IN = "2026.8.0"  # the version of Dask and distributed that this package was written for


@dataclass(frozen=True)
class Use:
    """The parts of Dask that one module needs.

    Attributes:
        module: the module of this package.
        parts: names of the parts, as ``module:attribute.attribute``.
        instead: what is done where one of them is missing.
    """

    module: str
    parts: tuple[str, ...]
    instead: str


def _of(owner: str, *names: str) -> tuple[str, ...]:
    """Return names of parts: attributes of a module ("dask:") or of a class ("dask:Class.")."""
    return tuple(f"{owner}{name}" for name in names)


_SCHEDULER, _TASK = "distributed.scheduler:Scheduler.", "distributed.scheduler:TaskState."
_WORKER, _SPEC = "distributed.worker:Worker.", "dask._task_spec:"
_COMPONENTS = "distributed.dashboard.components"

USES = (
    Use(
        "appliance.compute.scheduling.rootish",
        (
            # Stood in for.
            *_of(_SCHEDULER, "_TRANSITIONS_TABLE", "stimulus_queue_slots_maybe_opened"),
            *_of(_SCHEDULER, "_transition_waiting_processing", "_transition_waiting_queued"),
            *_of(_SCHEDULER, "_transition_queued_processing"),
            # Called, or read.
            *_of(_SCHEDULER, "_add_to_processing", "transitions", "is_rootish"),
            *_of(_SCHEDULER, "queued", "idle_task_count", "running", "WORKER_SATURATION"),
            *_of(_TASK, "_queueable"),
            # What these do has to stay as it is.
            *_of(_SCHEDULER, "_transition", "_transition_queued_released", "_transition_queued_erred"),
            *_of(_SCHEDULER, "decide_worker_rootish_queuing_enabled", "check_idle_saturated", "valid_workers"),
            *_of(_SCHEDULER, "handle_task_finished", "handle_worker_status_change", "add_worker"),
            "distributed.stealing:WorkStealing._get_thief",
        ),
        "tasks are restricted loosely to the hosts of their data: less even, and with more of them on the workers",
    ),
    Use(
        "appliance.compute.scheduling.locality",
        (*_of(_TASK, "run_spec", "host_restrictions", "loose_restrictions"), *_of(_SPEC, "GraphNode")),
        "tasks run without regard to where their data is",
    ),
    Use(
        "appliance.compute.scheduling.task_reads",
        (
            *_of(_SPEC, "Alias.target", "DataNode.value", "GraphNode", "TaskRef.key", "_execute_subgraph"),
            *_of(_SPEC, "Task.func", "Task.args", "Task.data_producer"),
            *_of("dask.array.core:", "getter", "getter_inline", "getter_nofancy"),
        ),
        "tasks run without regard to where their data is",
    ),
    Use(
        "appliance.compute.scheduling.coassignment",
        (
            *_of(_SCHEDULER, "bulk_schedule_unrunnable_after_adding_worker", "unrunnable"),
            *_of(_TASK, "run_spec", "host_restrictions", "waiting_on", "who_has", "dependencies", "dependents"),
        ),
        "tasks run where the stock scheduler puts them, and more of their inputs travel",
    ),
    Use(
        "appliance.compute.reporting.transfers",
        (
            *_of(_WORKER, "transfer_incoming_log", "transfer_outgoing_log"),
            *_of(_WORKER, "get_data", "_update_metrics_received_data"),  # these write the logs
            "distributed.shuffle._worker_plugin:ShuffleWorkerPlugin.shuffle_receive",
        ),
        "what workers send each other is not counted",
    ),
    Use(
        "appliance.compute.reporting.chunk_map",
        _of(_SPEC, "convert_legacy_graph"),
        "the picture of an array's chunks is not drawn",
    ),
    Use(
        "appliance.compute.forecasting.graph",
        (
            *_of(_SPEC, "Alias.target", "GraphNode", "convert_legacy_graph"),
            *_of("dask._expr:", "FinalizeCompute"),
            *_of("dask.base:", "collections_to_expr"),
            *_of("dask.highlevelgraph:", "Layer.collection_annotations"),
        ),
        "a forecast ends with an error",
    ),
    Use(
        "appliance.compute.forecasting.kinds",
        (
            *_of(_SPEC, "Alias", "DataNode.value", "GraphNode", "TaskRef", "_execute_subgraph"),
            *_of(_SPEC, "Task.func", "Task.args", "Task.kwargs", "Task.data_producer"),
        ),
        "a forecast ends with an error",
    ),
    Use(
        "appliance.compute.forecasting.harmless",
        (
            *_of(_SPEC, "DataNode.value", "GraphNode", "NestedContainer", "_execute_subgraph"),
            *_of(_SPEC, "Task.func", "Task.args", "Task.kwargs"),
        ),
        "a forecast ends with an error",
    ),
    Use(
        "appliance.compute.forecasting.expected_reads",
        _of(_SPEC, "DataNode.value", "GraphNode"),
        "a forecast ends with an error",
    ),
    Use(
        "appliance.compute.forecasting.trial",
        _of(_SPEC, "GraphNode", "Task.__call__"),
        "a forecast ends with an error",
    ),
    Use(
        "appliance.compute.forecasting.exchange",
        (
            *_of(_SPEC, "DataNode.value", "GraphNode", "Task", "_execute_subgraph"),
            # Known by their names, and stood in for.
            *_of("distributed.shuffle._rechunk:", "rechunk_transfer", "rechunk_unpack", "ArrayRechunkSpec.new"),
            *_of("distributed.shuffle._core:", "p2p_barrier", "P2PBarrierTask.spec"),
        ),
        "the time of what comes behind a rechunk between all workers is not known",
    ),
    Use(
        "appliance.compute.reporting.dashboard",
        (
            "distributed.dashboard.scheduler:applications",
            *_of(f"{_COMPONENTS}:", "DashboardComponent", "add_periodic_callback"),
            *_of(f"{_COMPONENTS}.scheduler:", "BOKEH_THEME", "TICKS_1024", "env"),
            "distributed.dashboard.utils:update",
        ),
        "the dashboard has no page of reads",
    ),
    Use(
        "appliance.compute.owner_http",
        ("distributed.node:ServerNode.start_http_server",),
        "schedulers and workers do not start",
    ),
    Use(
        "appliance.compute.killed_worker",
        (
            "distributed.scheduler:KilledWorker",  # stood in for, by a subclass
            "distributed.scheduler:Scheduler.remove_worker",  # makes it, and then calls plugins
            *_of("distributed.scheduler:WorkerState.", "clean", "metrics", "last_seen", "server_id", "memory_limit"),
        ),
        "the error of a task that ended its workers is Dask's own, which names no memory",
    ),
    Use(
        "appliance.compute.gateway_client",
        _of("dask_gateway.client:", "Gateway.close", "Gateway._cleanup", "GatewayCluster.close"),
        "a cluster object that garbage collection ends may stop the notebook",
    ),
    Use(
        "appliance.launching.backend",
        (
            # Stood in for.
            *_of("dask_gateway_server.backends.db_base:DBBackendBase.", "_check_cluster_proxied"),
            # Called with addresses that a scheduler tells.
            *_of("dask_gateway_server.backends.db_base:DBBackendBase.", "on_cluster_heartbeat"),
            *_of("dask_gateway_server.proxy:Proxy.", "add_route", "remove_route"),
            *_of("dask_gateway_server.backends.db_base:", "JobStatus"),
            *_of("dask_gateway_server.backends.db_base:DBBackendBase.", "do_start_cluster", "do_stop_cluster"),
            *_of("dask_gateway_server.backends.db_base:DBBackendBase.", "do_start_worker", "do_stop_worker"),
            *_of("dask_gateway_server.backends.db_base:DBBackendBase.", "do_check_clusters", "do_check_workers"),
        ),
        "the gateway does not start",
    ),
)


def present(part: str) -> bool:
    """Return whether this Dask has a part.

    Attributes that instances get when they are made count where their class declares their type.
    """
    module, _, path = part.partition(":")
    try:
        found: object = importlib.import_module(module)
        *owners, last = path.split(".")
        for name in owners:
            found = getattr(found, name)
    except (ImportError, AttributeError):
        return False
    declared = (vars(cls).get("__annotations__", {}) for cls in getattr(found, "__mro__", ()))
    return hasattr(found, last) or any(last in names for names in declared)


@functools.cache
def complete(module: str) -> bool:
    """Return whether this Dask has all parts that a module needs; where not, log once what is done instead.

    Args:
        module: the module's name, ``__name__``.
    """
    (use,) = (use for use in USES if use.module == module)
    missing = [part for part in use.parts if not present(part)]
    if missing:
        logger.warning("This version of Dask lacks %s: %s", ", ".join(missing), use.instead)
    return not missing
