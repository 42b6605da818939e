"""Which pool holds a bucket's objects, and what their RADOS names begin with: told by the object gateway.

It is asked through its admin API (``GET /admin/bucket``), as an S3 user whose only right is to read buckets' records.
The records could also be read from RADOS or through `radosgw-admin`, but whoever may do that may read researchers'
keys and write the gateway's own records too.
"""

from __future__ import annotations

import http.client
import logging
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from appliance.placement.auth.sigv4 import Keys, signed_headers
from appliance.placement.errors import ClusterError, HttpError
from appliance.placement.http_endpoint import HttpEndpoint, HttpResponse

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class BucketRecord:
    """A bucket as RGW has it: its marker, its placement rule, the name of the pool that this rule means, versions."""

    marker: str
    placement: str
    pool_name: str
    versioned: bool = False


@dataclass
class RgwAdmin:
    """The admin API of the object gateway at ``endpoint`` (an http URL).

    ``data_pools`` has the pool of each placement rule of the zone, ``timeout`` is in seconds. The methods raise
    ``ClusterError``.
    """

    endpoint: str
    keys: Keys
    data_pools: Mapping[str, str]
    timeout: float = 10.0
    _server: HttpEndpoint = field(init=False)

    def __post_init__(self) -> None:
        self._server = HttpEndpoint(self.endpoint, self.timeout)

    def bucket_names(self) -> list[str]:
        """Return the names of all buckets; those of tenants have the form ``tenant/bucket``."""
        return [str(name) for name in self._get({})]

    def bucket(self, name: str) -> BucketRecord | None:
        """Return a bucket; None if there is none of that name, or none whose pool is known."""
        record = self._get({"bucket": name})
        if record is None or record.get("tenant", "") != name.rpartition("/")[0]:
            return None
        rule = record["placement_rule"]
        # A bucket of before placement rules names its pool itself.
        pool = record.get("explicit_placement", {}).get("data_pool") or self.data_pools.get(rule)
        if not pool:
            LOG.warning(
                "bucket %r: no pool is known for its placement rule %r; run playbooks/placement.yml", name, rule
            )
            return None
        # A bucket that once kept versions has objects with version ids for ever ("suspended").
        return BucketRecord(record["marker"], rule or "explicit", pool, record.get("versioning", "off") != "off")

    def close(self) -> None:
        """End the connections."""
        self._server.close()

    def _get(self, parameters: Mapping[str, str]) -> Any:
        """Return the parsed answer, or None where there is no such bucket."""
        query = urllib.parse.urlencode(sorted({**parameters, "format": "json"}.items()), quote_via=urllib.parse.quote)
        target = f"/admin/bucket?{query}"
        headers = signed_headers(self.keys, "GET", self._server.host, target, datetime.now(UTC))
        try:
            response = self._server.request("GET", target, headers)
            if response.status == http.client.NOT_FOUND and _code(response) == "NoSuchBucket":
                return None
            if response.status == http.client.OK:
                return response.json()
        except HttpError as error:
            raise ClusterError(f"the gateway at {self.endpoint} tells no buckets: {error}") from error
        why = f"{response.status} {_code(response)}".rstrip()
        raise ClusterError(f"the gateway at {self.endpoint} answered {why}")


def _code(response: HttpResponse) -> str:
    """Return RGW's own name of an error; empty where there is none, as in what a balancer answers."""
    try:
        return str(response.json()["Code"])
    except (HttpError, KeyError, TypeError):
        return ""
