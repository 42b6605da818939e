"""``appliance VERB``: a thin face on the rooms of the package."""

from __future__ import annotations

import importlib

import click

# Verb -> where its command lives. Rooms are imported only when their verb is called: a worker's environment holds
# no Ansible and the control host no hub, and both have this command.
VERBS = {
    "data": "appliance.data.cli:data",
    "demo": "appliance.demo.cli:demo",
    "depot": "appliance.depot.cli:depot",
    "placement": "appliance.placement.cli:placement",
    "preflight": "appliance.preflight.cli:preflight",
    "quota": "appliance.quota.cli:quota",
    "rack": "appliance.rack.cli:rack",
    "release": "appliance.release.cli:release",
    "secrets": "appliance.inventory_secrets:secrets",
    "simulate": "appliance.simulate.cli:simulate",
    "where": "appliance.placement.cli:where",
}


class _LazyVerbs(click.Group):
    """A group that imports a verb's room on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module, _, attribute = VERBS[cmd_name].partition(":")
        try:
            command: click.Command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            # Shown in place of the verb, so that --help still lists the verbs that this environment can run.
            return _unavailable(cmd_name, error)
        return command


def _unavailable(verb: str, error: ModuleNotFoundError) -> click.Command:
    @click.command(
        verb,
        short_help=f"(not in this environment: needs {error.name})",
        context_settings={"ignore_unknown_options": True},
    )
    @click.argument("_arguments", nargs=-1)
    def stub(_arguments: tuple[str, ...]) -> None:
        raise click.ClickException(
            f"`appliance {verb}` needs the Python module {error.name!r}, which this environment does not hold; "
            "run it where its room is installed (on the control host: `make setup`)."
        )

    return stub


@click.group(cls=_LazyVerbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="appliance")
def main() -> None:
    """Run computing on the machines that hold the data: the operator's and maintainer's commands."""


if __name__ == "__main__":
    main()
