"""``appliance preflight``: judge an inventory and its machines, and say everything that is wrong at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from appliance.preflight.facility import Facility
from appliance.preflight.fault import as_json, as_table, merge
from appliance.preflight.judge import verdict
from appliance.preflight.role_catalogue import CatalogueError, RoleCatalogue


@click.command()
@click.option(
    "--project",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    show_default="the current directory",
    help="The tree that holds site.yml and roles/.",
)
@click.option("--variables", is_flag=True, help="Print what the checks read: public variables, secrets' patterns.")
@click.option("--json", "as_lines", is_flag=True, help="Print one JSON object a fault instead of the table.")
def preflight(project: Path, variables: bool, as_lines: bool) -> None:
    """Judge the request on standard input; exit 1 where anything is wrong.

    The request is a JSON object: groups (name: hosts), names (host: its variables), hostvars (host: public
    variables), defaults (host: what roles' defaults are worth), errors (host: variable: reason), fits (host: secret:
    whether it has its form), live (host: facts), password_names (list), sources (paths of the inventory).
    playbooks/preflight.yml makes it; nothing is changed. What preflight_accepted names goes to standard error.
    """
    try:
        catalogue = RoleCatalogue.read(project)
    except FileNotFoundError as error:
        raise click.ClickException(f"{error.filename} is missing; name the project's tree with --project") from error
    except CatalogueError as error:
        raise click.ClickException(str(error)) from error
    if variables:
        asked = {"public": catalogue.public_variables, "secret_patterns": catalogue.secret_patterns}
        click.echo(json.dumps(asked | {"defaults": catalogue.compared_defaults}))
        return
    try:
        request = json.loads(sys.stdin.read())
    except json.JSONDecodeError as error:
        raise click.ClickException(f"standard input is no JSON ({error}); run playbooks/preflight.yml") from error
    faults, accepted = verdict(Facility.from_request(request, catalogue))
    for fault, hosts in merge(accepted):
        click.echo(f"accepted: {fault.variable} = {fault.value} ({', '.join(hosts) or 'the site'})", err=True)
    click.echo(as_json(faults) if as_lines else as_table(faults), nl=False)
    sys.exit(1 if faults else 0)
