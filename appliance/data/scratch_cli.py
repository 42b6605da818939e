"""``appliance data scratch``: what lies in scratch, and when it goes."""

from __future__ import annotations

import json

import click

from appliance.data.progress_bar import errors


@click.command()
@click.option("--notice", is_flag=True, help="Say in one line what goes within seven days, if anything does.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each bucket instead of the table.")
def scratch(notice: bool, as_json: bool) -> None:
    """List what lies in your scratch bucket, and when it goes."""
    from appliance.data import scratch as found

    with errors():
        shown = found(listed=not notice)
    for one in shown:
        if notice:
            if line := one.line():
                click.echo(line)
        else:
            click.echo(json.dumps(one.to_dict()) if as_json else str(one))
    if not shown and not notice:
        click.echo("There is no scratch: the facility has none, or has not looked at yours yet.", err=True)
