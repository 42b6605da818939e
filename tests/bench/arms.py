"""The arms of the locality benchmark: clusters that differ only in who decides where tasks run, and where workers are.

Each is a cluster of the facility's own gateway, with three workers of one thread.

- ``ours``: as any user gets it.
- ``stock``: the same, with the facility's scheduler plugins taken out of it.
- ``cloud``: the stock scheduler, with the workers on the head, which holds no data: every byte comes through the
  balancer and the network. The head's card has the speed of the three storage hosts' together.
"""

from __future__ import annotations

from researcher import Notebook

ARMS = ("ours", "stock", "cloud")
WORKERS = 3

OPEN = f"""
import atexit, os, subprocess, sys, tempfile
from pathlib import Path
from time import sleep, time
import dask_gateway, xarray as xr
import appliance.compute

def peak(dask_worker, reset=False):
    if reset:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak is what is used now
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

def without_plugins(dask_scheduler):
    locality = dask_scheduler.plugins["appliance-locality"]
    if locality.queue is not None:
        locality.queue.uninstall()
    for name in ("appliance-locality", "appliance-follow"):
        dask_scheduler.remove_plugin(name)

def workers_here(cluster, client, number):
    folder = Path(tempfile.mkdtemp())
    (folder / "cert").write_text(cluster.security.tls_cert)
    (folder / "key").write_text(cluster.security.tls_key)
    address = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.address)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1"]
    command += ["--memory-limit", "2GiB", "--no-dashboard", "--preload", "appliance.compute.worker"]
    command += ["--host", os.uname().nodename, "--local-directory", str(folder)]
    for option, file in (("ca-file", "cert"), ("cert", "cert"), ("key", "key")):
        command += [f"--tls-{{option}}", str(folder / file)]
    env = {{**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}}
    started = [
        subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(number)
    ]
    atexit.register(lambda: [process.kill() for process in started])
    return started

cluster = client = None
here = []

def start(arm):
    global cluster, client, here  # so that they are ended whatever fails below
    cluster = dask_gateway.Gateway().new_cluster()
    client = cluster.get_client()
    if arm == "cloud":
        here = workers_here(cluster, client, {WORKERS})
    else:
        cluster.scale({WORKERS})
    if arm != "ours":
        client.run_on_scheduler(without_plugins)
    client.wait_for_workers({WORKERS}, timeout=120)

def measure(work, *paths):
    opened = [xr.open_zarr(path) for path in paths]
    lazy = WORKLOADS[work](*opened)
    client.run(peak, reset=True)
    before = appliance.compute.report()
    started = time()
    result = lazy.compute()
    ended = time()
    reads = appliance.compute.report() - before
    return dict(
        start=started, end=ended, bytes=reads.bytes, local_share=reads.local_share, balance=reads.balance,
        why_remote=reads.why_remote, peak=max(client.run(peak).values()), result=float(result.astype("float64").sum()),
    )
"""


def stop(notebook: Notebook) -> None:
    """End the notebook's cluster, and the workers beside it."""
    notebook.run("""
        if client is not None:
            client.close()
        if cluster is not None:
            cluster.shutdown()
        for process in here:
            process.kill()
            process.wait()
        say()
    """)
