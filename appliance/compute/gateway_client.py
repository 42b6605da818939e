"""dask-gateway's client, kept from stopping a notebook for ever when garbage collection ends one of its objects.

`Gateway` and `GatewayCluster` of dask-gateway 2026.3.0 close themselves as they are collected: their ``__del__`` hands
work to the client's event loop and waits for it. The collector runs in whatever thread makes objects at that moment. If
that is the event loop's own, the loop waits for itself; if it is one that holds a lock of distributed's ``LoopRunner``,
it waits for that. Here ``__del__`` only notes the object, and a thread of its own closes it.

Needless as soon as dask-gateway's own ``__del__`` waits for nothing, as distributed's ``Cluster.__del__`` since
dask/distributed#6627; ``tests/unit/launching/test_gateway_client.py`` tells when these methods change.

`appliance.on_import` puts it in place as dask-gateway's client is imported: so before the first `Gateway` there is.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import sys
import threading
import time
from types import ModuleType
from typing import TYPE_CHECKING

from appliance.compute import distributed_parts

if TYPE_CHECKING:
    from dask_gateway import Gateway, GatewayCluster

logger = logging.getLogger("distributed.appliance.gateway")

THREAD = "gateway-endings"
LAST_ENDINGS = 10.0  # s for which the program's end waits for objects that are still to be closed
ONE_COLLECTION = 0.1  # s in which all that is collected together has had its destructors called

# Of this queue a `put` may come in the middle of another one, as a destructor's does.
_ended: queue.SimpleQueue[Gateway | GatewayCluster | None] = queue.SimpleQueue()


def _note(ended: Gateway | GatewayCluster) -> None:
    """Stand in for ``__del__``: leave the object to the thread, unless there is nothing to close."""
    # One that was not made to its end lacks some of it. A cluster is closed with its gateway.
    runner = getattr(getattr(ended, "gateway", ended), "_loop_runner", None)
    if runner and runner.is_started() and not ended.asynchronous and not sys.is_finalizing():
        _ended.put(ended)


def _close_all() -> None:
    while (ended := _ended.get()) is not None:
        time.sleep(ONE_COLLECTION)
        try:
            _without_closed_session(getattr(ended, "gateway", ended))
            ended.close()
        except Exception:
            logger.warning("%r was not closed in good order", ended, exc_info=True)
        del ended  # or it would stay until the next one comes


def _without_closed_session(gateway: Gateway) -> None:
    """Let a gateway make another session: what is collected together ends in any order, and its own may be closed."""
    if getattr(getattr(gateway, "_session", None), "closed", False):
        gateway._session = None


def _wait_for_last(closer: threading.Thread, owner: int) -> None:
    if os.getpid() == owner:
        _ended.put(None)
        closer.join(LAST_ENDINGS)


def install(client: ModuleType) -> None:
    """Put the layer in place, in ``dask_gateway.client``."""
    if not distributed_parts.complete(__name__):
        return
    for kind in (client.Gateway, client.GatewayCluster):
        kind.__del__ = _note
    closer = threading.Thread(target=_close_all, name=THREAD, daemon=True)
    closer.start()
    atexit.register(_wait_for_last, closer, os.getpid())
