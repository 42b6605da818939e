"""A task that ends its workers: the notebook is told which, with how much memory, and what to do."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from typing import Any

import distributed
import numpy as np
import pytest
from dask_processes import ADDRESSES, Cluster
from distributed import Client
from waiting import until

MIB = 2**20


def memory(dask_scheduler: Any) -> int:
    return sum(ws.metrics["memory"] for ws in dask_scheduler.workers.values())


@pytest.mark.parametrize(
    ("held", "told"), [(600, "It died of memory: "), (1, "A worker that needs more is ended at once")]
)
def test_the_notebook_is_told_of_what_a_worker_died(new_cluster: Callable[..., Cluster], held: int, told: str) -> None:
    # A worker that is nearly full would spill, and take no task any more.
    memory_as_is = {f"DASK_DISTRIBUTED__WORKER__MEMORY__{what}": "False" for what in ("TARGET", "SPILL", "PAUSE")}
    cluster = new_cluster(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0", **memory_as_is)
    cluster.add_workers(ADDRESSES[0], memory=800 * MIB)
    with Client(cluster.address) as client:
        client.wait_for_workers(1, timeout=300)
        # Lambdas travel by value: workers cannot import this module.
        block = client.submit(lambda nbytes: np.ones(nbytes, dtype="u1"), held * MIB, key="block")
        distributed.wait(block)
        until(lambda: client.run_on_scheduler(memory) >= held * MIB)
        # As the kernel does it to who has too much.
        ends = client.submit(lambda _: os.kill(os.getpid(), signal.SIGKILL), block, key=(f"mean_chunk-{'0a' * 16}", 3))
        with pytest.raises(distributed.KilledWorker) as error:
            ends.result(timeout=300)
        cluster.workers.pop(ADDRESSES[0]).join()
    said = str(error.value)
    assert told in said
    assert "'mean_chunk'" in said
    assert f"{ADDRESSES[0]} at tcp://{ADDRESSES[0]}:" in said
    assert "Its limit is 800.00 MiB of memory, and it had " in said
    assert "worker_memory=" in said
    assert str(pickle.loads(pickle.dumps(error.value))) == said  # noqa: S301
