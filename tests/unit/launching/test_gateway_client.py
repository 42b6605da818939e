"""dask-gateway's objects that garbage collection ends: they are closed, and nothing waits for ever.

In programs of their own, since each would hang.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import dask_gateway.client
import programs
import pytest
from running_gateway import RunningGateway

PROGRAM = """
import appliance.on_import  # as the interpreter of an environment does
import gc, sys, threading, time
from dask_gateway import BasicAuth, Gateway
from distributed.utils import LoopRunner

address, proxy_address, environment, case = sys.argv[1:]
gc.disable()  # so that nothing but the case finds them

def gateway():
    return Gateway(address, proxy_address=proxy_address, auth=BasicAuth("alice"))

def in_a_cycle(made):
    made.me = made

def collected_on(loop):
    done = threading.Event()
    loop.add_callback(lambda: (gc.collect(), done.set()))
    done.wait()

own = gateway()
cluster = own.new_cluster(environment=environment)
client = cluster.get_client()
if case == "cluster on the client's loop":
    in_a_cycle(own.connect(cluster.name))
    collected_on(client.loop)
elif case == "gateway on its own loop":
    another = gateway()
    another.list_clusters()  # it has a connection that must be closed
    loop = another.loop
    in_a_cycle(another)
    del another
    collected_on(loop)
elif case == "within distributed's lock":
    in_a_cycle(gateway())
    with LoopRunner._lock:
        gc.collect()
elif case == "last of all":
    in_a_cycle(own.new_cluster(environment=environment))
    gc.collect()  # the program ends at once, and the cluster with it
if case != "last of all":
    assert [found.name for found in own.list_clusters()] == [cluster.name]
    assert client.run_on_scheduler(lambda: 1) == 1
cluster.shutdown()
own.close()
print("went on")
"""


@pytest.mark.parametrize(
    "case", ["cluster on the client's loop", "gateway on its own loop", "within distributed's lock", "last of all"]
)
def test_what_garbage_collection_ends_stops_nobody(running: RunningGateway, tmp_path: Path, case: str) -> None:
    program = tmp_path / "collects.py"
    program.write_text(PROGRAM)
    assert programs.run(program, running.address, running.tls, running.environment, case) == "went on\n"
    with running.gateway("alice") as gateway:
        assert gateway.list_clusters() == []


def test_dask_gateways_own_endings_still_wait() -> None:
    """Where this fails, read the new ones: `appliance.compute.gateway_client` may have become needless."""
    tree = ast.parse(inspect.getsource(dask_gateway.client))
    endings = [ast.unparse(node.body[-1]) for node in ast.walk(tree) if getattr(node, "name", "") == "__del__"]
    assert len(endings) == 2
    assert [ending.splitlines()[-1].strip() for ending in endings] == ["self.close()"] * 2
