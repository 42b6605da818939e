"""``appliance rack``: the emulated rack from the command line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.filesize import decimal
from rich.status import Status
from rich.table import Table

from appliance.rack import lifecycle, origin, saved, saving, tree
from appliance.rack.model import Rack, RackError, existing, load

ERRORS = Console(stderr=True)


class Gibibytes(click.ParamType):  # type: ignore[type-arg] # generic in newer click only
    """An amount such as ``12G`` or ``512M``, in GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return an amount in GiB: a text is read (its units are powers of 2), a float is in GiB already.

        Raises:
            click.BadParameter: the text is no number followed by M, G or T.
        """
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([MGT])i?B?", str(value))
        if match is None:
            self.fail(f"{value!r}: give a number with M, G or T, such as 12G", param, ctx)
        return float(match[1]) * {"M": 2**-10, "G": 1, "T": 2**10}[match[2]]


class _Refusals(click.Group):
    """A group whose commands end a RackError as a message and exit code 1, not as a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except RackError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Refusals, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--name", default="rack", envvar="APPLIANCE_RACK", show_default=True, help="Which rack (several can stand)."
)
@click.pass_context
def rack(ctx: click.Context, name: str) -> None:
    """Start and stop the emulated rack: a head and storage machines on this host. Needs root."""
    ctx.obj = name


def _root() -> None:
    if os.geteuid() != 0:
        raise RackError(f"user id {os.geteuid()}: the rack needs root; run it as root")


class _Steps:
    """Tells the step that is under way, and in the end how long each took."""

    def __init__(self, shown: Status, title: str) -> None:
        self._shown, self._title = shown, title
        self.begun = time.monotonic()
        self._steps: list[tuple[str, float]] = []

    def __call__(self, step: str) -> None:
        self._steps.append((step, time.monotonic()))
        self._shown.update(f"{self._title}: {step}")
        if not ERRORS.is_terminal:
            ERRORS.print(f"{self._title}: {step} ({time.monotonic() - self.begun:.0f} s)")

    def __str__(self) -> str:
        ends = [begun for _, begun in self._steps[1:]] + [time.monotonic()]
        return ", ".join(f"{step} {end - begun:.1f} s" for (step, begun), end in zip(self._steps, ends, strict=True))


@rack.command()
@click.option("--from", "saved_name", metavar="NAME", help="Bring back the rack that was saved so.")
@click.option("--stale", is_flag=True, help="With --from: also one that was made from other files than these.")
@click.option("--stores", default=3, show_default=True, help="Number of storage machines.")
@click.option("--disks", default=1, show_default=True, help="Disks of each storage machine.")
@click.option("--disk-size", default="12G", show_default=True, type=Gibibytes(), help="Size of a disk (sparse).")
@click.option("--memory", type=Gibibytes(), help="Most memory of a storage machine, such as 4G [default: no limit].")
@click.option("--head-memory", type=Gibibytes(), help="Most memory of the head [default: no limit].")
@click.option("--cpus", type=float, help="Processors that a machine may keep busy, such as 1.5 [default: no limit].")
@click.option("--nic", default=None, help="Speed of each machine's card, such as 200mbit [default: no limit].")
@click.option("--subnet", default="10.77.0.0/24", show_default=True, help="The machines' network.")
@click.option("--mirror", default=None, help="Debian mirror for the machines' tree [default: this host's own].")
@click.pass_context
def up(
    ctx: click.Context,
    saved_name: str | None,
    stale: bool,
    stores: int,
    disks: int,
    disk_size: float,
    memory: float | None,
    head_memory: float | None,
    cpus: float | None,
    nic: str | None,
    subnet: str,
    mirror: str | None,
) -> None:
    """Start the rack (or what of it is off); a rack that runs is left alone, and more --stores are added to it.

    With --from: bring back a saved rack, with its data, under its own name and addresses.
    """
    if saved_name is not None:
        _restore(ctx, saved_name, stale)
        return
    if stale:
        raise RackError("--stale: goes with --from NAME")
    name: str = ctx.obj
    wanted = Rack(
        name=name, subnet=subnet, stores=stores, disks=disks, disk_gib=int(disk_size), nic=nic,
        memory_gib=memory, head_memory_gib=head_memory, cpus=cpus,
    )  # fmt: skip
    with ERRORS.status(f"rack {name}") as shown:
        steps = _Steps(shown, f"rack {name}")
        started = lifecycle.up(wanted, mirror, steps)
    if started:
        click.echo(f"rack {name} is up after {time.monotonic() - steps.begun:.1f} s: {_addresses(wanted)}")
    else:
        click.echo(f"rack {name} runs already, nothing was changed: {_addresses(wanted)}")


def _addresses(shape: Rack) -> str:
    return ", ".join(f"{machine.name} {machine.address}" for machine in shape.machines())


def _restore(ctx: click.Context, saved_name: str, stale: bool) -> None:
    """Bring a saved rack back; whatever of a shape was typed is told to be out of place."""
    _root()
    group = ctx.parent
    named = group is not None and group.get_parameter_source("name") is not ParameterSource.DEFAULT
    options = {param.name: param.opts[0] for param in ctx.command.params}
    shaped = [
        option
        for name, option in options.items()
        if option not in ("--from", "--stale") and ctx.get_parameter_source(str(name)) is not ParameterSource.DEFAULT
    ]
    with ERRORS.status(f"saved rack {saved_name}") as shown:
        steps = _Steps(shown, f"saved rack {saved_name}")
        back, healthy = saving.restore(saved_name, ctx.obj if named else None, shaped, stale, steps)
    total = time.monotonic() - steps.begun
    click.echo(f"rack {back.name} is back and healthy after {total:.1f} s: {_addresses(back)}")
    click.echo(f"steps: {steps}")
    click.echo("healthy after the boot: " + ", ".join(f"{what} {after:.1f} s" for what, after in healthy.items()))


@rack.command()
@click.option("--yes-destroy", metavar="NAME", help="The rack's name, to destroy its data without being asked.")
@click.pass_obj
def down(name: str, yes_destroy: str | None) -> None:
    """Remove the rack with all data on it: asks for its name."""
    _root()
    if not lifecycle.leftovers(name):
        click.echo(f"there is nothing of rack {name}")
        return
    _confirm(f"All data of rack {name} is destroyed. Its name", name, yes_destroy)
    with ERRORS.status(f"rack {name}: removing machines, disks and network"):
        lifecycle.down(name)
    click.echo(f"rack {name} is gone: no mount, loop device, bridge, cgroup or process is left")


def _confirm(question: str, name: str, given: str | None) -> None:
    answer = given if given is not None else click.prompt(question)
    if answer != name:
        raise RackError(f"the name given is {answer!r}, the rack is {name!r}: nothing was changed")


@rack.command()
@click.argument("saved_name", metavar="NAME")
@click.option("--key", help="Refuse where what shapes machines has another key by now (see `key`).")
@click.option("--down", "stay_down", is_flag=True, help="Remove the rack then, instead of starting it again.")
@click.pass_obj
def save(name: str, saved_name: str, key: str | None, stay_down: bool) -> None:
    """Keep the rack as NAME, its data and the inventory's secrets too: stop it, copy its disks, start it again."""
    _root()
    with ERRORS.status(f"rack {name}") as shown:
        steps = _Steps(shown, f"rack {name}")
        made = saving.save(name, saved_name, key, stay_down, steps)
    total = time.monotonic() - steps.begun
    click.echo(f"rack {name} is saved as {saved_name} after {total:.1f} s: {decimal(made.size)}, of {made.origin}")
    click.echo(f"steps: {steps}")


@rack.command(name="saved")
@click.option("--json", "as_json", is_flag=True, help="One JSON list of saved racks.")
def list_saved(as_json: bool) -> None:
    """List the saved racks: of which rack, when, what they were made from, their size on disk."""
    _root()
    rows: list[dict[str, Any]] = []
    for name in saved.names():
        kept = saved.find(name)
        rows.append(
            {
                "name": name,
                "rack": kept.rack.name,
                "when": kept.when,
                "made_from": str(kept.origin),
                "key": kept.origin.key,
                "current": saving.origin_faults(kept, stale=False) == [],
                "bytes": kept.size,
            }
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(title="saved racks")
    for title in ("name", "rack", "when (UTC)", "made from", "as these files make it", "size"):
        table.add_column(title, justify="right" if title == "size" else "left")
    for row in rows:
        current = "yes" if row["current"] else "no"
        table.add_row(row["name"], row["rack"], row["when"], row["made_from"], current, decimal(row["bytes"]))
    Console().print(table)


@rack.command()
@click.argument("saved_name", metavar="NAME")
@click.option("--yes-destroy", metavar="NAME", help="The name once more, to remove it without being asked.")
def forget(saved_name: str, yes_destroy: str | None) -> None:
    """Remove the saved rack NAME: asks for its name. Racks that came back from it stay as they are."""
    _root()
    if not saved.folder_of(saved_name).exists():
        saved.find(saved_name)
    _confirm(f"The saved rack {saved_name} is removed. Its name", saved_name, yes_destroy)
    with ERRORS.status(f"saved rack {saved_name}: removing it"):
        saved.forget(saved_name)
    click.echo(f"the saved rack {saved_name} is gone")


@rack.command()
@click.pass_obj
def key(name: str) -> None:
    """Print the key of what a rack would be made from now: of the release, files that shape machines, and packages."""
    standing = load(name)
    machines_tree = Path(standing.tree) if standing is not None else tree.path(Rack().suite)
    click.echo(origin.present(machines_tree).key)


@rack.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON list of machines.")
@click.pass_obj
def status(name: str, as_json: bool) -> None:
    """Show each machine: whether it runs, its address, memory, disks, and what crossed its card."""
    rows = lifecycle.status(existing(name))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = Table(title=f"rack {name}")
    for title in ("machine", "address", "state", "memory", "disks", "received", "sent"):
        table.add_column(title, justify="right" if title in ("memory", "received", "sent") else "left")
    for row in rows:
        amounts = (row["memory_bytes"], row["card_received_bytes"], row["card_sent_bytes"])
        memory, received, sent = ("–" if amount is None else decimal(amount) for amount in amounts)
        state = "runs" if row["running"] else "off"
        table.add_row(row["name"], row["address"], state, memory, " ".join(row["disks"]) or "–", received, sent)
    Console().print(table)


@rack.command(name="exec", context_settings={"ignore_unknown_options": True})
@click.argument("machine")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def execute(name: str, machine: str, command: tuple[str, ...]) -> None:
    """Run COMMAND on MACHINE and end with its exit code. One word is for a shell, several reach it as they are."""
    words = command[0] if len(command) == 1 else shlex.join(command)
    sys.exit(subprocess.run([*lifecycle.ssh_command(existing(name), machine), "--", words]).returncode)


@rack.command()
@click.argument("machine")
@click.pass_obj
def ssh(name: str, machine: str) -> None:
    """Log in to MACHINE."""
    command = lifecycle.ssh_command(existing(name), machine)
    os.execvp(command[0], command)  # noqa: S606 - the shell's place is taken on purpose


@rack.command()
@click.argument("state", type=click.Choice(["on", "off", "cut"]))
@click.argument("machine")
@click.pass_obj
def power(name: str, state: str, machine: str) -> None:
    """Switch MACHINE on or off, or cut its power; its disks keep what they hold."""
    _root()
    lifecycle.power(existing(name), machine, state)
    click.echo(f"{machine} is {'on' if state == 'on' else 'off'}")


@rack.command()
@click.argument("rate")
@click.pass_obj
def nic(name: str, rate: str) -> None:
    """Give the cards of a running rack the speed RATE, such as 200mbit, or `none` for no limit."""
    _root()
    lifecycle.set_speed(existing(name), None if rate == "none" else rate)
    click.echo(f"the cards of rack {name} have {'no limit' if rate == 'none' else rate}")


@rack.command()
@click.argument("machine")
@click.argument("share", type=float)
@click.pass_obj
def slow(name: str, machine: str, share: float) -> None:
    """Let a running MACHINE work for SHARE of the time only, such as 0.3, until this command is ended."""
    _root()
    with lifecycle.slowed(existing(name), machine, share):
        click.echo(f"{machine} works for {share:g} of the time; Ctrl-C ends that")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


@rack.command()
@click.option("--list", "_list", is_flag=True, help="What Ansible calls an inventory script with.")
@click.option("--host", help="Answer for one host: empty, as --list holds all.")
@click.pass_obj
def inventory(name: str, _list: bool, host: str | None) -> None:
    """Print the rack as an Ansible inventory."""
    known = load(name)
    # An inventory that fails would keep every playbook from even being listed: without a rack it is empty.
    found = lifecycle.inventory(known) if known is not None else {"_meta": {"hostvars": {}}}
    click.echo(json.dumps({} if host else found, indent=2))
