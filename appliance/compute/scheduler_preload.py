"""Scheduler preload: steer tasks to their data, collect what workers read, and show it on the Dask dashboard.

Loaded by ``distributed.scheduler.preload`` in the scheduler's own unit; a notebook says nothing about it.

The dashboard is put together while the scheduler is made, from what its table of pages holds at that moment. Preloads
are imported before that and set up after it, so importing this module is what adds the page.
"""

from __future__ import annotations

import gc
import logging
import os
from typing import TYPE_CHECKING

from appliance.compute import distributed_parts, killed_worker
from appliance.compute.reporting import collect
from appliance.compute.scheduling import coassignment
from appliance.compute.scheduling.atlas import MAP_RETRY, MAP_TIMEOUT, Atlas
from appliance.compute.scheduling.coassignment import CoassignmentPlugin
from appliance.compute.scheduling.expectations import Expectations
from appliance.compute.scheduling.locality import ANYWHERE, LocalityPlugin

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler

logger = logging.getLogger("distributed.scheduler.appliance")

# For gc.set_threshold: a graph of 100,000 tasks makes millions of objects that stay, and at CPython's own threshold all
# of them are looked at for garbage a dozen times while it arrives, which is a third of the scheduler's work then.
GARBAGE = (50_000, 10, 10)

try:
    from appliance.compute.reporting import dashboard
except ImportError as error:  # no dashboard must not take locality away; the scheduler itself says what is missing
    logger.warning("The dashboard has no page of reads: %s", error)
else:
    dashboard.add_pages()


def _atlas() -> Atlas | None:
    """Return what places this user's reads, as the environment of the scheduler's unit says."""
    from appliance.placement import MapClient, ObjectLookup, PlacementUnavailable, Ranges

    url = os.environ.get("APPLIANCE_PLACEMENT_URL")
    if not url:
        logger.warning("%s: APPLIANCE_PLACEMENT_URL is not set", ANYWHERE)
        return None
    try:
        maps = MapClient(url, timeout=MAP_TIMEOUT, retry_after=MAP_RETRY)
    except PlacementUnavailable as error:
        logger.warning("%s: %s", ANYWHERE, error)
        return None
    try:
        return Atlas(maps, Ranges(maps, ObjectLookup.from_environment()))
    except PlacementUnavailable as error:
        logger.warning("Tasks that read files and other large objects run anywhere: %s", error)
        return Atlas(maps)


async def dask_setup(scheduler: Scheduler) -> None:
    """Add the plugins to a scheduler: Dask's entry point for preloads."""
    gc.set_threshold(*GARBAGE)
    expectations = Expectations()
    collect.add_to(scheduler, expectations)
    killed_worker.add_to(scheduler)
    scheduler.add_plugin(LocalityPlugin(scheduler, _atlas(), expectations=expectations))
    if distributed_parts.complete(coassignment.__name__):
        scheduler.add_plugin(CoassignmentPlugin(scheduler))
