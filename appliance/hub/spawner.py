"""Starts a researcher's notebook server as a systemd unit of the researcher, in the facility's environment."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from systemdspawner import SystemdSpawner, systemd
from traitlets import Instance

from appliance.hub.notebook import SpawnRefused, must_be_there, notebook_environment, researcher, unit_properties
from appliance.hub.settings import HubSettings


class NotebookSpawner(SystemdSpawner):  # type: ignore[misc]  # its package is not on the control host
    """`SystemdSpawner` with what this facility promises: one user, one environment, one set of keys, hard limits."""

    settings: HubSettings = Instance(HubSettings).tag(config=True)

    async def start(self) -> tuple[str, int]:
        """Start the unit; return where it listens. Raises `SpawnRefused` with a reason for the researcher."""
        account = researcher(self.user.name, self.settings.researchers_group)
        environment = Path(self.settings.environment_link).resolve()
        keys = Path(self.settings.s3_credentials) / account.pw_name
        must_be_there(environment / "bin/jupyterhub-singleuser", "the notebooks' environment")
        must_be_there(keys, f"the S3 keys of {account.pw_name}")

        self.cmd = [str(environment / "bin/jupyterhub-singleuser")]
        self.slice = "notebooks.slice"
        self.unit_extra_properties = unit_properties(account, environment, keys, self.settings)
        self.environment = notebook_environment(self.unit_name, environment, self.settings)

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

    async def _until_failed(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            if await systemd.service_failed(self.unit_name):
                return
