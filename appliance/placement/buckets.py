"""Which pool holds a bucket's objects, and what their RADOS names begin with: told by the object gateway.

It is asked through its admin API (``GET /admin/bucket``), as an S3 user whose only right is to read buckets' records.
The records could also be read from RADOS or through `radosgw-admin`, but whoever may do that may read researchers'
keys and write the gateway's own records too.
"""

from __future__ import annotations

import http.client
import json
import logging
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from appliance.placement.errors import ClusterError
from appliance.placement.signature import Keys, signed

LOG = logging.getLogger(__name__)
MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class FoundBucket:
    """A bucket as RGW has it: its marker, its placement rule, the name of the pool that this rule means, versions."""

    marker: str
    placement: str
    pool_name: str
    versioned: bool = False


@dataclass(frozen=True)
class Gateway:
    """The object gateway at ``endpoint`` (an http URL). ``data_pools``: the pool of each placement rule of the zone."""

    endpoint: str
    keys: Keys
    data_pools: Mapping[str, str]
    timeout: float = 10.0

    def names(self) -> list[str]:
        """Return the names of all buckets; those of tenants have the form ``tenant/bucket``."""
        return [str(name) for name in self._get({})]

    def bucket(self, name: str) -> FoundBucket | None:
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
        return FoundBucket(record["marker"], rule or "explicit", pool, record.get("versioning", "off") != "off")

    def _get(self, parameters: Mapping[str, str]) -> Any:
        """Return the parsed answer, or None where there is no such bucket."""
        parts = urllib.parse.urlsplit(self.endpoint)
        query = urllib.parse.urlencode(sorted({**parameters, "format": "json"}.items()), quote_via=urllib.parse.quote)
        headers = signed(self.keys, parts.netloc, "/admin/bucket", query, datetime.now(UTC))
        connection = http.client.HTTPConnection(parts.netloc, timeout=self.timeout)
        try:
            connection.request("GET", f"/admin/bucket?{query}", headers=headers)
            answer = connection.getresponse()
            body = answer.read(MAX_BYTES)
            if answer.status == http.client.NOT_FOUND and b"NoSuchBucket" in body:
                return None
            if answer.status != http.client.OK:
                raise ClusterError(f"the gateway at {self.endpoint} answered {answer.status} {_code(body)}".rstrip())
            return json.loads(body)
        except (OSError, http.client.HTTPException) as error:
            raise ClusterError(
                f"the gateway at {self.endpoint} does not answer: {error or type(error).__name__}"
            ) from error
        except ValueError as error:
            raise ClusterError(f"the answer of the gateway at {self.endpoint} is no JSON ({error})") from error
        finally:
            connection.close()


def _code(body: bytes) -> str:
    try:
        return str(json.loads(body)["Code"])
    except (ValueError, KeyError, TypeError):
        return ""
