"""The researcher's analysis from log-in to figures, and what it did to the network."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser

from appliance.demo import reference
from appliance.demo.browser import Researcher, Spawn, figures
from appliance.demo.facility import Facility
from appliance.demo.wire import CardWatch

NOTEBOOK = "examples/sea-surface-temperature.ipynb"
SST_FILE = "ostia_monthly.nc"
NOTEBOOK_TIMEOUT = 900.0

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Analysis:
    """What was measured of one run of the example notebook. Times in s, errors in K."""

    spawn: Spawn
    new_cluster_seconds: float
    notebook_seconds: float
    reduction_seconds: float
    reduction_bytes: int
    reads_local_share: float
    sent_by_machine: dict[str, int]
    max_abs_error: float
    made_max_abs_error: float

    @property
    def wire_bytes_per_byte_read(self) -> float:
        """Bytes that the machines' cards sent while the dataset was reduced, for each byte of it."""
        return sum(self.sent_by_machine.values()) / self.reduction_bytes


def analyse(
    browser: Browser, facility: Facility, user: str, data: list[Path], out: Path, progress: Progress
) -> Analysis:
    """Let ``user`` run the example notebook in a browser; leave pictures and results in ``out``.

    Raises:
        BrowserError: a page or a cell did not do what it should.
        FacilityError: the facility lacks something.
        ComparisonError: the results cannot be compared with numpy's.
    """
    out.mkdir(parents=True, exist_ok=True)
    progress(f"putting {len(data)} NetCDF files into {user}'s home")
    facility.put(user, "data", data)
    # Neither an older notebook nor older results may stand in for this run's.
    facility.run("head1", "rm", "-rf", f"/home/{user}/examples", f"/home/{user}/results")
    with CardWatch(facility.cards) as watch:
        researcher = Researcher(browser, facility.front, user)
        progress(f"logging in as {user} at {facility.front.url}")
        researcher.log_in(facility.password(user), picture=out / "login.png")
        researcher.stop_server()
        progress("starting a notebook server")
        spawn = researcher.start_server()
        researcher.open_notebook(NOTEBOOK)
        researcher.picture(out / "opened.png")
        start = time.monotonic()
        try:
            notebook = researcher.run_all(
                NOTEBOOK,
                NOTEBOOK_TIMEOUT,
                lambda done, cells: progress(f"running the notebook: {done} of {cells} cells"),
            )
        except Exception:
            researcher.picture(out / "failed.png", whole_notebook=True)
            raise
        notebook_seconds = time.monotonic() - start
        researcher.picture(out / "notebook.png", whole_notebook=True)
        researcher.close()
        figures(notebook, out)
        (out / "notebook.ipynb").write_text(json.dumps(notebook, indent=1), encoding="utf-8")
        # One more look at the cards, so that the span is covered to its end.
        time.sleep(0.2)
    progress("comparing with numpy")
    results = out / "results"
    shutil.rmtree(results, ignore_errors=True)
    facility.get(user, "results", results)
    said = json.loads((results / "figures.json").read_text(encoding="utf-8"))
    span = said["reduction"]
    traffic = watch.between(span["start"], span["end"])
    sst = next(path for path in data if path.name == SST_FILE)
    return Analysis(
        spawn=spawn,
        new_cluster_seconds=said["new_cluster_seconds"],
        notebook_seconds=notebook_seconds,
        reduction_seconds=span["end"] - span["start"],
        reduction_bytes=span["bytes"],
        reads_local_share=said["reads_local_share"],
        sent_by_machine={machine: card.sent for machine, card in traffic.items()},
        max_abs_error=reference.largest_error(reference.of_file(sst), results / "ostia-summary.nc"),
        made_max_abs_error=reference.largest_error(reference.of_made(), results / "made-summary.nc"),
    )
