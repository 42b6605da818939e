"""The report as a page of the Dask dashboard, drawn anew while the analysis runs.

It shows what the scheduler heard with its workers' heartbeats, and asks nobody: who looks at it costs the workers
nothing. ``/appliance-reads`` is the page with the dashboard's menu around it; ``/individual-appliance-reads`` is the
plots alone, as JupyterLab's Dask panel shows them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from bokeh.layouts import column, row
from bokeh.models import AdaptiveTicker, ColumnDataSource, Div, FactorRange, NumeralTickFormatter
from bokeh.plotting import figure
from bokeh.transform import dodge
from distributed.dashboard.components import DashboardComponent, add_periodic_callback
from distributed.dashboard.components.scheduler import BOKEH_THEME, TICKS_1024, env
from distributed.dashboard.scheduler import applications
from distributed.dashboard.utils import update

from appliance.compute.reading.read_counter import LOCAL, REPLICA
from appliance.compute.reporting.collect import EXTENSION
from appliance.compute.reporting.reasons import REASONS
from appliance.compute.reporting.report import ReadReport
from appliance.compute.reporting.templates import render

if TYPE_CHECKING:
    from bokeh.document import Document
    from distributed.scheduler import Scheduler

PAGE, ALONE = "/appliance-reads", "/individual-appliance-reads"
INTERVAL = 500  # ms; heartbeats come about as often
# Green is near, orange is far; blue and violet are the network.
COLOURS = {"local": "#2a9d5c", "by replica": "#9ad1a8", "remote": "#e07b39", "in": "#3b7dd8", "out": "#8e6fc4"}
LABEL = {"text_baseline": "middle", "text_font_size": "9pt"}
READ, CARD = ("local", "by replica", "remote"), ("in", "out")


class ReadsPage(DashboardComponent):
    """Bars for each host, and the reasons of what was remote.

    Args:
        scheduler: whose extension holds the counts, see ``appliance.compute.reporting.collect``.
        sizing_mode: bokeh's, of the whole page.
    """

    def __init__(self, scheduler: Scheduler, sizing_mode: str = "stretch_both"):
        self.scheduler = scheduler
        self.source = ColumnDataSource({name: [] for name in ("host", *READ, *CARD)})
        self.reasons = ColumnDataSource({name: [] for name in ("reason", "reads", "text")})
        self.text = Div(text="", sizing_mode="stretch_width")
        self._hosts, self._why = FactorRange(), FactorRange(factors=list(reversed(REASONS)))
        read = _bars("Bytes read by each host", self._hosts)
        read.hbar_stack(
            READ, y="host", height=0.7, color=[COLOURS[c] for c in READ], legend_label=list(READ), source=self.source
        )
        card = _bars("Bytes over each host's card", self._hosts)
        for place, name in ((0.18, "in"), (-0.18, "out")):
            card.hbar(
                y=dodge("host", place, range=self._hosts),
                right=name,
                height=0.32,
                color=COLOURS[name],
                legend_label=name,
                source=self.source,
            )
        for each in (read, card):
            each.xaxis[0].formatter = NumeralTickFormatter(format="0.0 b")
            each.xaxis.ticker = AdaptiveTicker(**TICKS_1024)
            each.legend.orientation = "horizontal"
            each.add_layout(each.legend[0], "below")  # where it hides no bar
        why = _bars("Why reads were remote: number of reads", self._why)
        why.xaxis[0].formatter = NumeralTickFormatter(format="0,0")
        why.hbar(y="reason", right="reads", height=0.7, color=COLOURS["remote"], source=self.reasons)
        why.text(x="reads", y="reason", text="text", x_offset=4, source=self.reasons, **LABEL)
        # Else bokeh scales an empty picture to something below nothing.
        for each in (read, card, why):
            each.x_range.start = 0
        self.root = column(self.text, row(read, card, sizing_mode="stretch_both"), why, sizing_mode=sizing_mode)

    def update(self) -> None:  # type: ignore[override]  # bokeh calls it so, distributed's stub is another
        """Draw what is known now. bokeh calls this in the scheduler's event loop."""
        collector = self.scheduler.extensions.get(EXTENSION)
        report = collector.report() if collector is not None else ReadReport(())
        self.text.text = render("dashboard.html.j2", summary=report.summary)
        hosts = [host.host for host in reversed(report.rows)]
        if list(self._hosts.factors) != hosts:
            self._hosts.factors = hosts
        data: dict[str, list[Any]] = {"host": [host.host for host in report.rows]}
        data["local"] = [host.bytes_by_kind.get(LOCAL, 0) for host in report.rows]
        data["by replica"] = [host.bytes_by_kind.get(REPLICA, 0) for host in report.rows]
        data["remote"] = [host.remote_bytes for host in report.rows]
        data["in"] = [host.bytes_in for host in report.rows]
        data["out"] = [host.bytes_out for host in report.rows]
        update(self.source, data)
        reads = report.reasons
        update(
            self.reasons,
            {
                "reason": list(REASONS),
                "reads": [reads.get(reason, 0) for reason in REASONS],
                "text": [f"{reads[reason]:,}" if reason in reads else "" for reason in REASONS],
            },
        )


def _bars(title: str, y_range: Any) -> Any:
    plot = figure(title=title, y_range=y_range, tools="", toolbar_location=None, sizing_mode="stretch_both")
    plot.ygrid.visible = False
    return plot


def page(scheduler: Scheduler, extra: dict[str, Any], doc: Document, alone: bool = False) -> None:
    """Fill a bokeh document, as the dashboard's table of pages wants it.

    Args:
        scheduler: whose page it is.
        extra: variables of the dashboard's template.
        doc: the document.
        alone: whether the dashboard's menu is left out.
    """
    reads = ReadsPage(scheduler)
    reads.update()
    add_periodic_callback(doc, reads, INTERVAL)
    doc.add_root(reads.root)
    doc.title = "Dask: Reads"
    doc.theme = BOKEH_THEME
    if not alone:
        doc.template = env.get_template("simple.html")
        doc.template_variables.update(extra)


def add_pages() -> None:
    """Put the page into the dashboards of schedulers that are made from now on in this process."""
    applications.update({PAGE: page, ALONE: partial(page, alone=True)})
