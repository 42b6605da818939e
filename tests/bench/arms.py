"""The arms of the locality benchmark: clusters that differ only in who decides where tasks run, and where workers are.

Each has three workers of one thread.

- ``ours``: a cluster of the gateway, as any user gets it.
- ``stock``: the same, with the facility's scheduler plugins taken out of it.
- ``cloud``: the stock scheduler and its workers on the head, which holds no data: every byte comes through the balancer
  and the network. The head's card has the speed of the three storage hosts' together.
"""

from __future__ import annotations

from pathlib import Path

from researcher import Notebook

ARMS = ("ours", "stock", "cloud")
WORKERS = 3

OPEN = f"""
from pathlib import Path
from time import sleep, time
import dask, dask_gateway, xarray as xr
from distributed import LocalCluster
import appliance.compute

def peak(dask_worker, reset=False):
    if reset:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak is what is used now
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

QUIET = 0.2  # s before each run, twice the time between two looks at the cards: what was before does not count

def without_plugins(dask_scheduler):
    dask_scheduler.plugins["appliance-locality"].stop()
    for name in ("appliance-locality", "appliance-coassignment"):
        dask_scheduler.remove_plugin(name)

def cloud():
    # Not the gateway's: that ends workers which it has not started.
    dask.config.set(distributed__scheduler__preload=["appliance.compute.scheduler_preload"])
    dask.config.set(distributed__worker__preload=["appliance.compute.worker_preload"])
    return LocalCluster(
        n_workers={WORKERS}, threads_per_worker=1, memory_limit="2GiB", protocol="tls", security=True,
        dashboard_address=None, worker_dashboard_address=None,
    )

cluster = client = None

def start(arm):
    global cluster, client  # so that they are ended whatever fails below
    if arm == "cloud":
        cluster = cloud()
        client = cluster.get_client()
    else:
        cluster = dask_gateway.Gateway().new_cluster()
        client = cluster.get_client()
        cluster.scale({WORKERS})
    if arm != "ours":
        client.run_on_scheduler(without_plugins)
    client.wait_for_workers({WORKERS}, timeout=120)

def measure(work, *urls):
    lazy = WORKLOADS[work](*(opened(url, work not in UNCHUNKED) for url in urls))
    client.run(peak, reset=True)
    before = appliance.compute.report()
    sleep(QUIET)
    started = time()
    result = lazy.compute()
    ended = time()
    reads = appliance.compute.report() - before
    return dict(
        start=started, end=ended, bytes=reads.bytes, local_share=reads.local_share, balance=reads.balance,
        why_remote=reads.why_remote, peak=max(client.run(peak).values()), result=float(result.astype("float64").sum()),
    )
"""


def open_arm(notebook: Notebook, arm: str) -> str:
    """Start an arm in a notebook; returns the address of the machine that its scheduler runs on."""
    notebook.run(OPEN)
    for part in ("datasets.py", "workloads.py"):
        notebook.run((Path(__file__).parent / part).read_text().replace("from __future__ import annotations", ""))
    said = notebook.run(f"start({arm!r}); say(scheduler=client.scheduler_info()['address'])")
    return str(said["scheduler"]).rpartition("://")[2].rpartition(":")[0]


def stop(notebook: Notebook) -> None:
    """End the notebook's cluster."""
    notebook.run("""
        if client is not None:
            client.close()
        if cluster is not None:
            getattr(cluster, "shutdown", cluster.close)()
        say()
    """)
