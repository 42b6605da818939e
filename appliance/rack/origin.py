"""What a rack is made from: the release, the project's files that shape its machines, and the tree that they lie on."""

from __future__ import annotations

import contextlib
import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance import inventory_secrets
from appliance.rack.model import RackError
from appliance.rack.shell import run

PROJECT = Path(__file__).resolve().parents[2]
INVENTORY = PROJECT / "inventories" / "rack"
# All that reaches a machine when site.yml runs, this package's own wheel included. Tests and pages do not.
SHAPING = (
    "ansible.cfg",
    "appliance",
    "environments",
    "inventories/rack",
    "playbooks",
    "plugins",
    "pyproject.toml",
    "roles",
    "site.yml",
)


@dataclass(frozen=True)
class Origin:
    """The release, a hash of the files that shape machines, a hash of the tree's packages, and the commit.

    The commit is for people only: files that are not committed yet shape machines as well.
    """

    release: str
    files: str
    tree: str
    commit: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """What tells one origin from another, in 12 characters."""
        return hashlib.sha256("\0".join((self.release, self.files, self.tree)).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        return f"release {self.release}" + (f" at {self.commit}" if self.commit else "") + f", key {self.key}"


def present(tree: Path, project: Path = PROJECT) -> Origin:
    """Return what a rack on ``tree`` would be made from now."""
    release = tomllib.loads((project / "pyproject.toml").read_text())["project"]["version"]
    return Origin(release, hash_of_files(project), _hash_of_packages(tree), _commit(project))


def hash_of_files(project: Path) -> str:
    """Return a hash of names, contents and executable bits of the project's files that shape machines."""
    digest = hashlib.sha256()
    for path in _shaping(project):
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        executable = not path.is_symlink() and bool(path.stat().st_mode & 0o100)
        name = str(path.relative_to(project))
        digest.update(f"{name}\0{executable}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _shaping(project: Path) -> Iterator[Path]:
    """Yield the files in order; not the secrets, hidden files, and what Python made."""
    for name in SHAPING:
        top = project / name
        below = sorted(top.rglob("*")) if top.is_dir() else [top]
        for path in below:
            parts = path.relative_to(project).parts
            passed_over = "__pycache__" in parts or any(part.startswith(".") for part in parts)
            if not passed_over and path.name != inventory_secrets.SECRETS_FILE.name and path.is_file():
                yield path


def _hash_of_packages(tree: Path) -> str:
    """Return a hash of the tree's installed packages: a tree that is made later may hold newer ones."""
    status = tree / "var/lib/dpkg/status"
    return hashlib.sha256(status.read_bytes()).hexdigest() if status.exists() else ""


def _commit(project: Path) -> str:
    """Return the short name of the commit, with `+` where shaping files differ from it; nothing outside of git."""
    with contextlib.suppress(RackError):
        commit = run("git", "-C", str(project), "rev-parse", "--short", "HEAD").strip()
        changed = run("git", "-C", str(project), "status", "--porcelain", "--", *SHAPING)
        return commit + ("+" if changed else "")
    return ""
