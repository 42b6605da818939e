"""The environments: what each is to be made of, which the depot has, and taking in what a builder made."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.depot import locks, own_wheel, signing
from appliance.depot.errors import DepotError
from appliance.depot.layout import ENVIRONMENTS, Depot, Project
from appliance.depot.wheels import Store, digest

_STORE_PATH = re.compile(r"^/nix/store/[0-9abcdfghijklmnpqrsvwxyz]{32}-[A-Za-z0-9+._?=-]+$")
_BASE32 = "0123456789abcdfghijklmnpqrsvwxyz"


@dataclass(frozen=True)
class Environment:
    """An environment as the project's tree describes it now."""

    name: str
    manifest: dict[str, Any]
    """What environment.nix reads."""
    key: str
    """Identity of expression and manifest: the same key, the same store path."""
    store_path: str | None
    """Where it lies on every machine; None until a builder has made it."""


def store(depot: Depot) -> Store:
    """The depot's wheels, with the file that keeps what was read of them."""
    return Store(depot.wheels, depot.root / "wheels.json")


def open_cache(depot: Depot) -> None:
    """Make the binary cache answer, also while it is empty: Nix asks before it builds."""
    info = depot.nix / "nix-cache-info"
    if not info.exists():
        depot.nix.mkdir(parents=True, exist_ok=True)
        _write(info, "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n")


def describe(depot: Depot, project: Project) -> list[Environment]:
    """All environments, as they are to be from this tree. Makes the project's wheel if the tree has changed.

    Raises:
        DepotError: wheels are missing in the depot.
    """
    wheels = store(depot)
    own, path, _ = own_wheel.build(project, depot.wheels)
    tool, missing = wheels.match(locks.parse(project.build_lock))
    described = []
    for name in ENVIRONMENTS:
        here, absent = wheels.match(locks.parse(project.lock(name)))
        missing += absent
        manifest = {
            "name": name,
            "version": own_wheel.version(project),
            "lock": project.lock(name).read_text(encoding="utf-8"),
            "wheels": [{"file": wheel.file, "sha256": wheel.sha256} for _, wheel in sorted(here.items())],
            "uv": {"file": wheel.file, "sha256": wheel.sha256} if (wheel := tool.get("uv")) else None,
            "own": {"file": own.file, "sha256": own.sha256, "path": path},
        }
        key = _key(project, manifest)
        described.append(Environment(name, manifest, key, recorded(depot, name, key)))
    if missing:
        names = ", ".join(sorted({requirement.name for requirement in missing}))
        raise DepotError(f"wheels missing in {depot.wheels}: {names}; fetch them: `appliance depot fill`")
    return described


def write_manifest(depot: Depot, environment: Environment) -> Path:
    """The file that environment.nix reads, for handing to a builder."""
    path = depot.root / "manifests" / f"{environment.name}-{environment.key}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        _write(path, json.dumps(environment.manifest, indent=1, sort_keys=True) + "\n")
    return path


def _key(project: Project, manifest: dict[str, Any]) -> str:
    # The wheel's address within the depot is no part of what is built.
    content = {**manifest, "own": {**manifest["own"], "path": ""}}
    text = project.expression.read_text(encoding="utf-8") + json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _record(depot: Depot, name: str, key: str) -> Path:
    return depot.records / f"{name}-{key}.json"


def recorded(depot: Depot, name: str, key: str) -> str | None:
    """The store path that was built for a key, if the depot still holds it."""
    path = _record(depot, name, key)
    if not path.exists():
        return None
    store_path = str(json.loads(path.read_text(encoding="utf-8"))["store_path"])
    return store_path if (depot.nix / _narinfo_name(store_path)).exists() else None


def _narinfo_name(store_path: str) -> str:
    return Path(store_path).name[:32] + ".narinfo"


def nix_base32(data: bytes) -> str:
    """Nix's own base 32 (its alphabet, last bits first), as narinfo files write hashes."""
    length = (len(data) * 8 - 1) // 5 + 1
    number = int.from_bytes(data, "little")
    return "".join(_BASE32[(number >> (5 * place)) & 31] for place in reversed(range(length)))


def take_in(depot: Depot, name: str, key: str, store_path: str) -> list[str]:
    """Sign what a builder left in the depot's ``incoming`` directory, serve it, and record the environment.

    Args:
        depot: that the builder copied its binary cache into.
        name: of the environment.
        key: that it was built for, as `describe` gave it.
        store_path: that the builder printed.

    Returns:
        Store paths that were signed now.

    Raises:
        DepotError: something is missing or damaged; then nothing is served and nothing recorded.
    """
    if name not in ENVIRONMENTS or not re.fullmatch(r"[0-9a-f]{32}", key) or not _STORE_PATH.match(store_path):
        raise DepotError(f"no environment of this depot: {name!r}, key {key!r}, path {store_path!r}")
    signing_key = signing.load_or_make(depot.signing_key, depot.public_key)
    arrived: dict[str, signing.NarInfo] = {}
    for path in sorted(depot.incoming.glob("*.narinfo")):
        info = signing.NarInfo.parse(path.read_text(encoding="utf-8"))
        arrived[info["StorePath"]] = info
    closure = _closure(depot, arrived, store_path)
    for info in closure:
        _check_archive(depot.incoming, info)
    (depot.nix / "nar").mkdir(parents=True, exist_ok=True)
    for info in closure:
        archive = depot.nix / info["URL"]
        if not archive.exists():
            # The same file under a second name: rsync then finds it in `incoming` and sends it only once.
            os.link(depot.incoming / info["URL"], archive)
            archive.chmod(0o644)
        _write(depot.nix / _narinfo_name(info["StorePath"]), info.signed(signing_key))
    depot.records.mkdir(exist_ok=True)
    record = {"name": name, "key": key, "store_path": store_path, "public_key": signing_key.public}
    _write(_record(depot, name, key), json.dumps(record, indent=1) + "\n")
    return [info["StorePath"] for info in closure]


def _closure(depot: Depot, arrived: dict[str, signing.NarInfo], store_path: str) -> list[signing.NarInfo]:
    """What a path needs and the depot does not serve yet, from what arrived; dependencies first."""
    ordered: list[signing.NarInfo] = []
    seen: set[str] = set()

    def visit(path: str) -> None:
        if path in seen:
            return
        seen.add(path)
        if (depot.nix / _narinfo_name(path)).exists():
            return
        if path not in arrived:
            raise DepotError(f"{depot.incoming}: {path} did not arrive; run playbooks/environment.yml again")
        for reference in arrived[path].references:
            visit(reference)
        ordered.append(arrived[path])

    visit(store_path)
    return ordered


def _check_archive(directory: Path, info: signing.NarInfo) -> None:
    url = info["URL"]
    if not re.fullmatch(r"nar/[0-9a-z]+\.nar(?:\.[a-z0-9]+)?", url):
        raise DepotError(f"{info['StorePath']}: its archive's address {url!r} is none of a builder's")
    path = directory / url
    found = f"sha256:{nix_base32(bytes.fromhex(digest(path)))}" if path.exists() else "missing"
    if found != info["FileHash"]:
        raise DepotError(
            f"{path}: {found} where its narinfo says {info['FileHash']}; remove {directory} and run "
            "playbooks/environment.yml again"
        )


def _write(path: Path, text: str) -> None:
    scratch = path.with_name(path.name + ".new")
    scratch.write_text(text, encoding="utf-8")
    scratch.chmod(0o644)
    scratch.replace(path)
