"""Starts a researcher's notebook server as a systemd unit of the researcher, in the facility's environment."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path

from systemdspawner import SystemdSpawner, systemd
from traitlets import Instance

from appliance.hub.notebook import (
    PORT,
    SpawnRefused,
    notebook_environment,
    require,
    researcher,
    unit_properties,
)
from appliance.hub.settings import HubSettings
from appliance.researcher.environment import keys_file
from appliance.researcher.slices import slice_of

# Where the variables of servers are kept, for root alone. The parent class writes them into the unit's own directory,
# which belongs to the researcher, and systemd reads them anew for each command of the unit, root's among them: whoever
# puts another file there tells root's commands which libraries to load.
VARIABLES = "/run/jupyterhub-servers"
systemd.RUN_ROOT = VARIABLES


class NotebookSpawner(SystemdSpawner):  # type: ignore[misc]  # its package is not on the control host
    """`SystemdSpawner` with what this facility promises: one user, one environment, one set of keys, hard limits."""

    settings: HubSettings = Instance(HubSettings).tag(config=True)

    async def start(self) -> tuple[str, int]:
        """Start the unit; return where it listens. Raises `SpawnRefused` with a reason for the researcher."""
        account = researcher(self.user.name, self.settings)
        environment = Path(self.settings.environment_link).resolve()
        keys = keys_file(self.settings.s3_keys, account.pw_name)
        require(environment / "bin/jupyterhub-singleuser", "the notebooks' environment")
        require(keys, f"the S3 keys of {account.pw_name}")

        self.cmd = [str(environment / "bin/jupyterhub-singleuser")]
        self.slice = slice_of("notebooks.slice", account.pw_uid)
        # Where nobody but the inventory names groups, those of an earlier provider still stand in the hub's database.
        groups = [group.name for group in self.user.groups] if self.authenticator.manage_groups else []
        self.unit_extra_properties = unit_properties(account, environment, keys, self.settings, groups)
        self.environment = notebook_environment(account.pw_name, self.unit_name, environment, self.settings)

        await self._forget_failed()
        # The parent class asks only whether the unit runs, and would ask a dead one for a minute.
        starting = asyncio.ensure_future(super().start())
        failing = asyncio.ensure_future(self._until_failed())
        try:
            await asyncio.wait({starting, failing}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                raise SpawnRefused(
                    f"The server of {account.pw_name} stopped as it started. "
                    f"The facility's operators find the reason with: journalctl --unit {self.unit_name}"
                )
            address: tuple[str, int] | None = starting.result()
        finally:
            for task in (starting, failing):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        if address is None:
            raise SpawnRefused(f"The server of {account.pw_name} did not start in {self.start_timeout} s.")
        return address

    async def stop(self, now: bool = False) -> None:
        """Stop the unit, and forget its variables."""
        await super().stop(now)
        shutil.rmtree(Path(VARIABLES) / self.unit_name, ignore_errors=True)

    def _expand_user_vars(self, string: str | list[str]) -> str | list[str]:
        """Return a text of the configuration with the user's name in it, and our own properties with the port.

        The parent class knows texts only, and a property that is given several times is a list: those are ours. It has
        chosen the port when it asks.
        """
        if isinstance(string, list):
            return [part.replace(PORT, str(self.port)) for part in string]
        expanded: str = super()._expand_user_vars(string)
        return expanded

    async def _forget_failed(self) -> None:
        """Let systemd forget a server that ended by a fault, and wait until it has.

        With the unit it removes the unit's directory, a moment later: the parent class, which asks it to forget and
        goes on, would lose the variables that it writes there for the new server.
        """
        if not await systemd.service_failed(self.unit_name):
            return
        await systemd.reset_service(self.unit_name)
        while await self._is_loaded():
            await asyncio.sleep(0.05)

    async def _is_loaded(self) -> bool:
        asked = await asyncio.create_subprocess_exec(
            *["systemctl", "show", "--value", "--property=LoadState", self.unit_name],
            stdout=asyncio.subprocess.PIPE,
        )
        answer, _ = await asked.communicate()
        return answer.strip() != b"not-found"

    async def _until_failed(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            if await systemd.service_failed(self.unit_name):
                return
