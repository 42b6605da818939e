"""What the facility says of a researcher's limits: S3 of what is kept there, the gateway of Dask clusters."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree

from appliance.placement.auth.sigv4 import Keys, signed_headers
from appliance.placement.errors import ClusterError

SECONDS = 30


class NotToldError(Exception):
    """A part of the facility does not say what it is asked; the message says why."""


@dataclass(frozen=True)
class Storage:
    """What a researcher keeps in S3 and may keep. A limit that is None is none."""

    bytes: int
    objects: int
    buckets: int
    bytes_max: int | None
    objects_max: int | None
    buckets_max: int | None


def storage() -> Storage:
    """Ask the S3 gateway: Ceph's answer to ``GET /?usage``, and the list of buckets.

    Raises:
        NotToldError: there are no keys, or S3 refuses them or does not answer.
    """
    usage = _s3("/?usage")
    listed = _s3("/")

    def number(name: str) -> int:
        found = usage.find(f".//{name}")
        if found is None or found.text is None:
            raise NotToldError(f"its answer has no {name}")
        return int(found.text)

    def most(name: str) -> int | None:
        value = number(name)
        return value if value > 0 else None

    return Storage(
        bytes=number("TotalBytes"),
        objects=number("TotalEntries"),
        buckets=sum(1 for element in listed.iter() if element.tag.rpartition("}")[2] == "Bucket"),
        bytes_max=most("QuotaMaxBytes"),
        objects_max=most("QuotaMaxObjCount"),
        buckets_max=most("QuotaMaxBuckets"),
    )


def allowance() -> tuple[Mapping[str, int], Mapping[str, int] | None]:
    """Ask the gateway of Dask clusters; return what all clusters have and what they may have, None for anything.

    Raises:
        NotToldError: this is no notebook of the facility's, or the gateway does not answer.
    """
    address, token = os.environ.get("DASK_GATEWAY__ADDRESS"), os.environ.get("JUPYTERHUB_API_TOKEN")
    if not address or not token:
        raise NotToldError("DASK_GATEWAY__ADDRESS and JUPYTERHUB_API_TOKEN are set in notebooks of the facility only")
    told = json.loads(_get(f"{address}/api/v1/allowance", {"Authorization": f"jupyterhub {token}"}))
    return told["used"], told["most"]


def _s3(target: str) -> ElementTree.Element:
    endpoint, file = os.environ.get("AWS_ENDPOINT_URL"), os.environ.get("AWS_SHARED_CREDENTIALS_FILE")
    if not endpoint or not file:
        raise NotToldError("AWS_ENDPOINT_URL and AWS_SHARED_CREDENTIALS_FILE are set in notebooks of the facility only")
    try:
        keys = Keys.from_file(Path(file))
    except ClusterError as error:
        raise NotToldError(str(error)) from error
    headers = signed_headers(keys, "GET", urlsplit(endpoint).netloc, target, datetime.now(UTC))
    return ElementTree.fromstring(_get(f"{endpoint.rstrip('/')}{target}", headers))  # noqa: S314  (the facility's)


def _get(url: str, headers: Mapping[str, str]) -> bytes:
    # No proxy: the facility is here, whatever the environment says of the way out.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        with error:
            raise NotToldError(f"{error.code} {error.reason}: {error.read()[:200].decode(errors='replace')}") from error
    except OSError as error:
        raise NotToldError(str(getattr(error, "reason", error))) from error
