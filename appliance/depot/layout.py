"""Where the depot keeps its files, and the project files that it works from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_CACHE = Path("/var/cache/appliance")

ENVIRONMENTS = ("analysis", "services")


def cache_root() -> Path:
    """The appliance's cache directory: ``APPLIANCE_CACHE``, or /var/cache/appliance."""
    return Path(os.environ.get("APPLIANCE_CACHE") or DEFAULT_CACHE)


@dataclass(frozen=True)
class Depot:
    """The depot's directory, by its parts."""

    root: Path

    @classmethod
    def default(cls) -> Depot:
        """The depot of this host, in `cache_root`."""
        return cls(cache_root() / "depot")

    @property
    def run(self) -> Path:
        """The directory of nginx's configuration, pid and logs."""
        return self.root / "nginx"

    @property
    def config(self) -> Path:
        """What nginx runs with: `appliance.depot.server.up` writes it once nginx has found it good."""
        return self.run / "nginx.conf"

    @property
    def pid_file(self) -> Path:
        """Holds the process id of nginx's master. It outlives a crash, so ask `appliance.depot.server.running_pid`."""
        return self.run / "nginx.pid"

    @property
    def access_log(self) -> Path:
        """One JSON object a line for each request since nginx came up; `appliance.depot.traffic` reads it."""
        return self.run / "access.log"

    @property
    def error_log(self) -> Path:
        """What nginx says of its own faults, from warnings on, as text."""
        return self.run / "error.log"

    @property
    def debian(self) -> Path:
        """The cache that nginx keeps of Debian mirrors, by hashed names."""
        return self.root / "debian"

    @property
    def served(self) -> Path:
        """What nginx hands out as it is; nothing else of the depot can be asked for."""
        return self.root / "served"

    @property
    def wheels(self) -> Path:
        """Wheels of the lock files, flat; the project's own under ``own/<sha256>/``."""
        return self.served / "wheels"

    @property
    def nix(self) -> Path:
        """A Nix binary cache: ``nix-cache-info``, ``*.narinfo``, ``nar/``."""
        return self.served / "nix"

    @property
    def incoming(self) -> Path:
        """Where a builder's unsigned binary cache waits to be signed; never served."""
        return self.root / "incoming"

    @property
    def records(self) -> Path:
        """One JSON file for each environment that was built: its key and store path."""
        return self.root / "environments"

    @property
    def signing_key(self) -> Path:
        """The private key, as Nix writes keys (``NAME:base64``), with mode 0600; never served."""
        return self.root / "signing.key"

    @property
    def public_key(self) -> Path:
        """The key that machines trust, as nix.conf's trusted-public-keys wants it."""
        return self.root / "signing.pub"


@dataclass(frozen=True)
class Project:
    """The project's source tree, which the locks and the project's own wheel come from."""

    root: Path

    @classmethod
    def here(cls) -> Project:
        """The tree that this package is imported from (the control host installs it editable).

        Raises:
            FileNotFoundError: the package is installed without its tree, as on a rack's machines.
        """
        root = Path(__file__).resolve().parents[2]
        if not (root / "environments" / "environment.nix").is_file():
            raise FileNotFoundError(
                f"{root} holds no environments/environment.nix: the depot works from the project's source tree; "
                "run it on the control host from the checkout that `make setup` was run in"
            )
        return cls(root)

    @property
    def expression(self) -> Path:
        """The Nix expression that builds each environment from its manifest."""
        return self.root / "environments" / "environment.nix"

    @property
    def build_lock(self) -> Path:
        """The lock of the one wheel that the expression itself uses, the same for each environment."""
        return self.root / "environments" / "build.lock"

    def lock(self, environment: str) -> Path:
        """The lock of the packages of ``environment``, one of `ENVIRONMENTS`; `appliance.depot.locks` reads it."""
        return self.root / "environments" / environment / "requirements.lock"
