"""What a researcher does, in a small: put and get an object, and run two tasks on a Dask cluster.

``python -m appliance.verify.researcher`` runs as the researcher, in the notebooks' environment and with the variables
that a notebook has; the bucket is named on the command line. It writes a report as lines and exits 1 where a check
failed.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
import time

from appliance.verify.report import Report

WORKERS = 2


def where_am_i(number: int) -> tuple[int, str, str]:
    """A task: return its number, the host that it runs on and the environment that it runs from."""
    time.sleep(0.2)  # long enough that an idle worker takes the other task
    return number, socket.gethostname(), os.path.realpath(sys.prefix)


def storage(report: Report, bucket: str) -> None:
    """Put an object, get it, delete it, and see that it is gone."""
    import fsspec

    with report.check("S3: put, get, delete") as check:
        files = fsspec.filesystem("s3", skip_instance_cache=True)
        path, content = f"{bucket}/.verify/{secrets.token_hex(8)}", os.urandom(2**20)
        files.pipe_file(path, content)
        try:
            if files.cat_file(path) != content:
                raise RuntimeError(f"s3://{path}: other bytes came back than were put")
        finally:
            files.rm_file(path)
        files.invalidate_cache()
        if files.exists(path):
            raise RuntimeError(f"s3://{path}: is still there after it was deleted")
        check.detail = f"ok, 1 MiB in s3://{bucket}"


def cluster(report: Report) -> None:
    """Ask the gateway for a cluster, run two tasks on two workers, and end it."""
    from dask_gateway import Gateway

    with report.check("Dask: two tasks on a cluster") as check, Gateway() as gateway:
        with gateway.new_cluster() as own:
            own.scale(WORKERS)
            with own.get_client() as client:
                client.wait_for_workers(WORKERS, timeout=90)
                seen = client.gather(client.map(where_am_i, range(2), pure=False))
        if [number for number, _, _ in seen] != [0, 1]:
            raise RuntimeError(f"the tasks returned {seen}")
        mine = os.path.realpath(sys.prefix)
        others = {prefix for _, _, prefix in seen} - {mine}
        if others:
            raise RuntimeError(f"workers run from {', '.join(sorted(others))}, the notebook from {mine}")
        check.detail = f"ok, on {', '.join(sorted({host for _, host, _ in seen}))}"


def main() -> int:
    """Run both checks; the bucket's name is the only argument."""
    (bucket,) = sys.argv[1:]
    report = Report()
    storage(report, bucket)
    cluster(report)
    sys.stdout.write(report.as_lines())
    return 0 if report.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
