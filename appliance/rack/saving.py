"""Save a standing rack, and bring a saved one back running and healthy."""

from __future__ import annotations

import math
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from appliance import inventory_secrets
from appliance.rack import checks, health, lifecycle, machine, origin, saved
from appliance.rack.model import Machine, Rack, RackError, existing, load
from appliance.rack.saved import Saved

# Each layer makes the overlay's mount options longer, which have room for 4096 characters.
MOST_LAYERS = 16
# What a machine that came back writes before anybody notices.
GROWTH_GIB = 1
# Keys by which the control host and the machines know each other.
KEYS = ("id_ed25519", "id_ed25519.pub")
SECRETS = ("vault-password", "secrets.yml")  # of the inventory, as a saved rack keeps them
UNHEALTHY_PATIENCE = 30  # s; a rack that is to be saved has had its time
Say = Callable[[str], None]


def save(rack_name: str, name: str, key: str | None, stay_down: bool, say: Say) -> Saved:
    """Save the rack called ``rack_name`` as ``name``, and start it again; with ``stay_down``, remove it.

    ``key`` is what the rack was made from, where the caller knows it: the save is refused when that has changed since.

    Raises:
        RackError: the rack is not healthy, or cannot be saved (all that is wrong is named); it stands as it was.
    """
    with lifecycle.only_one(rack_name):
        rack = existing(rack_name)
        made_from = origin.present(Path(rack.tree))
        checks.refuse(_saving_faults(rack, name, made_from, key))
        say("asking whether the rack is healthy")
        health.wait(rack, UNHEALTHY_PATIENCE)
        say("stopping the machines")
        try:
            lifecycle.stop(rack)
            with saved.only_one():
                made = _write(rack, name, made_from, say)
        except BaseException:
            lifecycle.start(existing(rack_name), say)
            raise
        if not stay_down:
            lifecycle.start(made.rack, say)
            say("waiting until all of it is healthy")
            health.wait(made.rack)
    if stay_down:
        say("removing the rack")
        lifecycle.down(rack_name)
    return made


def _saving_faults(rack: Rack, name: str, made_from: origin.Origin, key: str | None) -> list[str]:
    found = []
    if saved.folder_of(name).exists():
        found.append(f"NAME {name}: a rack is saved so already; `appliance rack forget {name}`, or take another")
    off = [each.name for each in rack.machines() if machine.leader(each) is None]
    if off:
        found.append(f"machines that are off: {', '.join(off)}; `appliance rack --name {rack.name} up` starts them")
    if key is not None and key != made_from.key:
        found.append(f"--key {key}: the files that shape machines have changed since, their key is {made_from.key}")
    if len(rack.layers) >= MOST_LAYERS:
        found.append(f"the rack lies on {MOST_LAYERS} saved ones, each on the one before; make one from bare machines")
    disks = [each.folder / disk for each in rack.machines() for disk in each.disks]
    needed = math.ceil(sum(disk.stat().st_blocks * 512 for disk in disks if disk.exists()) / 2**30)
    return found + checks.disk_faults(saved.root(), needed, "copies of the disks")


def _write(rack: Rack, name: str, made_from: origin.Origin, say: Say) -> Saved:
    with saved.draft(name) as folder:
        say("copying the disks")
        copies = [pair for each in rack.machines() for pair in saved.kept_disks(folder, each).items()]
        _copy(dict(copies))
        for key in KEYS:
            shutil.copy2(rack.folder / key, folder / key)
        keep_secrets(folder, origin.INVENTORY)
        say("writing it down")
        layer = uuid.uuid4().hex[:12]
        changed = replace(rack, layers=(layer, *rack.layers))
        changed.save()
        saved.add_layer(changed, layer)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        size = saved.size_of(changed, folder)
        made = Saved(name, replace(changed, ready=False), made_from, now, size)
        saved.write_record(folder, made)
    return made


def _copy(copies: Mapping[Path, Path]) -> None:
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(saved.copy_disk, copies, copies.values()))


def restore(
    name: str, rack_name: str | None, shaped: Sequence[str], stale: bool, say: Say
) -> tuple[Rack, dict[str, float]]:
    """Bring back the rack that was saved as ``name``; return it, and after how many seconds what of it was healthy.

    It comes back under its own name and addresses, which its machines know: ``rack_name`` is the rack that the caller
    named, ``shaped`` are the options of a shape that were given. ``stale`` takes one that was made from other files.

    Raises:
        RackError: something keeps it from coming back (all that is wrong is named), or it does not become healthy.
    """
    faults = [f"{option}: a saved rack comes back in its own shape; leave it out" for option in shaped]
    try:
        kept = saved.find(name)
    except RackError as error:
        checks.refuse([*faults, str(error)])
        raise
    own = kept.rack.name
    if rack_name not in (None, own):
        faults.append(f"--name {rack_name}: {name} is of rack {own}, whose name and addresses it keeps; leave it out")
    with lifecycle.only_one(own), saved.only_one():
        checks.refuse([*faults, *_restoring_faults(kept, stale)])
        say("clearing leftovers")
        lifecycle.remove(own)
        # From here on the layers stay, whatever is forgotten later: a rack names them.
        kept.rack.save()
        for key in KEYS:
            shutil.copy2(kept.folder / key, kept.rack.folder / key)
        give_secrets(kept.folder, origin.INVENTORY)
        lifecycle.start(kept.rack, say, lambda each: _give_disks(kept, each))
    say("waiting until all of it is healthy")
    return kept.rack, health.wait(kept.rack)


def _restoring_faults(kept: Saved, stale: bool) -> list[str]:
    found = checks.faults(kept.rack)
    own = kept.rack.name
    standing = load(own)
    if standing is not None and standing.ready:
        found.append(f"rack {own} stands; `appliance rack --name {own} down` first")
    missing = kept.missing()
    if missing:
        found.append(f"gone: {', '.join(map(str, missing))}; `appliance rack forget {kept.name}`, and make it anew")
    found += origin_faults(kept, stale)
    found += secret_faults(kept.folder, origin.INVENTORY)
    machines = len(list(kept.rack.machines()))
    needed = math.ceil(kept.disk_bytes() / 2**30) + machines * GROWTH_GIB
    # A host without the programs cannot be asked.
    return found or checks.host_faults(kept.rack, machines, needed)


def origin_faults(kept: Saved, stale: bool) -> list[str]:
    """Return why the saved rack is not what this release and these files would make; ``stale`` takes it all the same.

    Machines of another tree cannot be taken: their layers lie on files that are gone.
    """
    tree = Path(kept.rack.tree)
    now = origin.present(tree)
    found = []
    if tree.exists() and now.tree != kept.origin.tree:
        found.append(f"the machines' tree {tree} was made anew; `appliance rack forget {kept.name}`, and make it anew")
    if (now.release, now.files) != (kept.origin.release, kept.origin.files) and not stale:
        found.append(
            f"{kept.name} was made from {kept.origin}, and here is {now}; make it anew and save that, "
            "or take it as it is with --stale (`site.yml` then brings it up to date)"
        )
    return found


def _give_disks(kept: Saved, each: Machine) -> None:
    each.folder.mkdir(parents=True, exist_ok=True)
    for disk, copy in saved.kept_disks(kept.folder, each).items():
        saved.copy_disk(copy, disk)


def keep_secrets(folder: Path, inventory: Path) -> None:
    """Keep the inventory's secrets with the rack that was made with them; a bare rack has none."""
    for source, kept in _secret_files(folder, inventory):
        if source.exists():
            inventory_secrets.write_private(kept, source.read_bytes())


def give_secrets(folder: Path, inventory: Path) -> None:
    """Give the inventory the secrets that the rack was made with, where it has none."""
    for target, kept in _secret_files(folder, inventory):
        if kept.exists() and not target.exists():
            inventory_secrets.write_private(target, kept.read_bytes())


def _secret_files(folder: Path, inventory: Path) -> list[tuple[Path, Path]]:
    """Return the password and what it opens: of the inventory, and as a saved rack in ``folder`` keeps it."""
    own = (inventory / inventory_secrets.PASSWORD_FILE, inventory / inventory_secrets.SECRETS_FILE)
    return list(zip(own, (folder / name for name in SECRETS), strict=True))


def secret_faults(folder: Path, inventory: Path) -> list[str]:
    """Return in which variables the inventory's secrets differ from those that the rack was made with."""
    (password, kept_password), (own, kept) = _secret_files(folder, inventory)
    if not kept.exists() or not (password.exists() or own.exists()):
        return []
    way_out = f"move {password} and {own} away, and those that the rack was made with come back"
    if not (password.exists() and own.exists()):
        return [f"of the inventory's secrets only one file is there; {way_out}"]
    try:
        theirs = inventory_secrets.read(kept, kept_password.read_text().strip())
        ours = inventory_secrets.read(own, password.read_text().strip())
    except inventory_secrets.SecretsError as error:
        return [str(error)]
    differing = inventory_secrets.differing(theirs, ours)
    return [f"secrets that the rack was made with differ here: {', '.join(differing)}; {way_out}"] if differing else []
