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
from typing import Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from appliance.rack import lifecycle
from appliance.rack.model import Rack, RackError, existing, load

ERRORS = Console(stderr=True)


class Gibibytes(click.ParamType):  # type: ignore[type-arg] # generic in newer click only
    """An amount such as ``12G`` or ``512M``, in GiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([MGT])i?B?", str(value))
        if match is None:
            self.fail(f"{value!r}: give a number with M, G or T, such as 12G", param, ctx)
        return float(match[1]) * {"M": 2**-10, "G": 1, "T": 2**10}[match[2]]


class Refusals(click.Group):
    """A group whose commands end a RackError as a message and exit code 1, not as a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except RackError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Refusals, context_settings={"help_option_names": ["-h", "--help"]})
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


@rack.command()
@click.option("--stores", default=3, show_default=True, help="Number of storage machines.")
@click.option("--disks", default=1, show_default=True, help="Disks of each storage machine.")
@click.option("--disk-size", default="12G", show_default=True, type=Gibibytes(), help="Size of a disk (sparse).")
@click.option("--memory", type=Gibibytes(), help="Most memory of a storage machine, such as 4G [default: no limit].")
@click.option("--head-memory", type=Gibibytes(), help="Most memory of the head [default: no limit].")
@click.option("--cpus", type=float, help="Processors that a machine may keep busy, such as 1.5 [default: no limit].")
@click.option("--nic", default=None, help="Speed of each machine's card, such as 200mbit [default: no limit].")
@click.option("--subnet", default="10.77.0.0/24", show_default=True, help="The machines' network.")
@click.option("--mirror", default=None, help="Debian mirror for the machines' tree [default: this host's own].")
@click.pass_obj
def up(
    name: str,
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
    """Start the rack (or what of it is off); a rack that runs is left alone, and more --stores are added to it."""
    wanted = Rack(
        name=name, subnet=subnet, stores=stores, disks=disks, disk_gib=int(disk_size), nic=nic,
        memory_gib=memory, head_memory_gib=head_memory, cpus=cpus,
    )  # fmt: skip
    begun = time.monotonic()
    with ERRORS.status(f"rack {name}") as shown:

        def say(step: str) -> None:
            shown.update(f"rack {name}: {step}")
            if not ERRORS.is_terminal:
                ERRORS.print(f"rack {name}: {step} ({time.monotonic() - begun:.0f} s)")

        started = lifecycle.up(wanted, mirror, say)
    addresses = ", ".join(f"{machine.name} {machine.address}" for machine in wanted.machines())
    if started:
        click.echo(f"rack {name} is up after {time.monotonic() - begun:.1f} s: {addresses}")
    else:
        click.echo(f"rack {name} runs already, nothing was changed: {addresses}")


@rack.command()
@click.option("--yes-destroy", metavar="NAME", help="The rack's name, to destroy its data without being asked.")
@click.pass_obj
def down(name: str, yes_destroy: str | None) -> None:
    """Remove the rack with all data on it: asks for its name."""
    _root()
    if not lifecycle.leftovers(name):
        click.echo(f"there is nothing of rack {name}")
        return
    answer = yes_destroy if yes_destroy is not None else click.prompt(f"All data of rack {name} is destroyed. Its name")
    if answer != name:
        raise RackError(f"the name given is {answer!r}, the rack is {name!r}: nothing was changed")
    with ERRORS.status(f"rack {name}: removing machines, disks and network"):
        lifecycle.down(name)
    click.echo(f"rack {name} is gone: no mount, loop device, bridge, cgroup or process is left")


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
