"""What a site says about its hub: one JSON file, checked as a whole before a hub is started with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from appliance.checked_json import (
    AbsolutePath,
    Flag,
    Port,
    PositiveNumber,
    PositiveWhole,
    Text,
    Url,
    check_file,
    matching,
    read_file,
    whole,
)

Memory = Annotated[str, matching("[1-9][0-9]*[KMGT]", "give a whole number and one of K, M, G, T, such as 2G")]
GROUP_NAME = matching("[a-z_][a-z0-9_-]{0,31}", "give the name of a Unix group")
GroupName = Annotated[str, GROUP_NAME]
LogIn = Annotated[str, matching("pam|ldap|oidc", "choose pam, ldap or oidc")]
Tasks = Annotated[int, whole(64, "give a whole number of at least 64; a notebook's threads alone need that")]


@dataclass(frozen=True, kw_only=True)
class HubSettings:
    """The hub's settings.

    Attributes:
        site_name: what the log-in page calls the site.
        researchers_group: whose members may log in.
        uid_min: the least uid of a researcher.
        uid_max: the greatest.
        public_url: where browsers find the hub.
        subdomains: whether each server has a name of its own below the hub's.
        proxy_port: where the proxy waits for what browsers ask, on loopback.
        hub_port: where the hub listens, on loopback.
        proxy_api_port: where its proxy is told of servers, on loopback.
        memory_limit: the most that a server may use: bytes, with one of the suffixes K, M, G, T (powers of 1024).
        cpu_limit: the most cores that a server may use; 1.5 is one and a half.
        tasks_limit: the most threads and processes of a server.
        log_in: who checks that somebody is who they say: ``pam`` (this machine), ``ldap`` or ``oidc``.
        log_in_seconds: the window in which tries to log in are counted.
        log_in_tries: the most tries in it of one name from one address.
        log_in_tries_of_name: of one name from all addresses.
        log_in_tries_from_address: from one address, of all names.
        token_days: the most days that a token lives which a researcher asks for.
        temporary_limit: the most that lies in each of a server's temporary directories, as ``memory_limit`` is given.
        environment_link: a link to the store path that servers run from.
        s3_keys: the directory of the researchers' S3 keys.
        s3_endpoint: S3, as the head sees it.
        placement_url: the placement service, as the head sees it.
        gateway_url: the gateway of Dask clusters, without a path.
        gateway_proxy_address: the gateway's proxy to the schedulers.
    """

    site_name: Text
    researchers_group: GroupName
    uid_min: PositiveWhole
    uid_max: PositiveWhole
    public_url: Url
    subdomains: Flag
    proxy_port: Port
    hub_port: Port
    proxy_api_port: Port
    memory_limit: Memory
    cpu_limit: PositiveNumber
    tasks_limit: Tasks
    log_in: LogIn
    log_in_seconds: PositiveWhole
    log_in_tries: PositiveWhole
    log_in_tries_of_name: PositiveWhole
    log_in_tries_from_address: PositiveWhole
    token_days: PositiveWhole
    temporary_limit: Memory
    environment_link: AbsolutePath
    s3_keys: AbsolutePath
    s3_endpoint: Url
    placement_url: Url
    gateway_url: Url
    gateway_proxy_address: Url

    @classmethod
    def from_file(cls, path: Path) -> HubSettings:
        """Read the settings; raise `appliance.checked_json.FaultyError` where they have a fault."""
        return read_file(cls, path)

    def faults(self) -> list[str]:
        """Return what is wrong between the settings, one line each."""
        found = []
        if len({self.proxy_port, self.hub_port, self.proxy_api_port}) < 3:
            found.append("proxy_port, hub_port, proxy_api_port: two of them are the same port; each listens by itself")
        if self.log_in_tries > min(self.log_in_tries_of_name, self.log_in_tries_from_address):
            found.append(
                f"log_in_tries: {self.log_in_tries} of one name from one address can never be reached; give at most "
                "log_in_tries_of_name and log_in_tries_from_address"
            )
        return found


main = partial(check_file, HubSettings)

if __name__ == "__main__":
    raise SystemExit(main())
