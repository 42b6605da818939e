"""``appliance quota``: what a researcher may have, and has."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--ways-out", is_flag=True, help="Tell what to do where each limit is reached.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of the table.")
def quota(ways_out: bool, as_json: bool) -> None:
    """Show what you may have of S3, Dask clusters and your server, and how much of it you have.

    For a terminal of JupyterLab. Exits 1 where a part of the facility did not answer.
    """
    from appliance.quota.report import report

    found = report()
    if as_json:
        click.echo(json.dumps(found.to_dict()))
    else:
        click.echo(str(found))
        if ways_out:
            click.echo(f"\n{found.ways_out()}")
    if found.unanswered:
        raise SystemExit(1)
