"""fsspec's "s3" in the facility: reads through the gateway on the process's own host, and counts what it reads.

Registered by the package's ``fsspec.specs`` entry point, so that plain ``xr.open_zarr("s3://…")`` uses it. Endpoint and
keys come from the process that reads (``AWS_ENDPOINT_URL``, ``AWS_SHARED_CREDENTIALS_FILE``), never from the graph.
"""

from __future__ import annotations

import os
from typing import Any

from s3fs import S3FileSystem

from appliance.compute.counters import counter

# One stored object is one RADOS object up to this size (rgw_max_chunk_size and rgw_obj_stripe_size of role ceph_rgw).
OBJECT_BYTES = 64 * 2**20
SERVED_BY = "x-appliance-served-by"  # set by haproxy (role s3_endpoint) to the host whose gateway answered
PLACE_AND_KEYS = ("endpoint_url", "key", "secret", "token", "username", "password")
# The gateway of a host may stop in mid-request: haproxy sends a new request elsewhere, so asking again is enough.
CLIENT = {
    "retries": {"mode": "standard", "max_attempts": 5},
    "max_pool_connections": 64,
    # TCP checks the way, and zarr's codecs the content where asked: one more checksum costs CPU on each chunk.
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}


class LocalS3FileSystem(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """S3 as this process sees it. Takes the options of ``s3fs.S3FileSystem``, by name.

    An ``endpoint_url`` that is another than the facility's own is kept with the keys that were given for it, and
    travels in graphs as with s3fs: such a store is the user's own affair. For the facility's own S3, an endpoint and
    keys given by hand are used in this process only.
    """

    protocol = ("s3", "s3a")

    def __init__(self, **kwargs: Any):
        kwargs["config_kwargs"] = {**CLIENT, **(kwargs.get("config_kwargs") or {})}
        super().__init__(**kwargs)
        given = self.endpoint_url or self.client_kwargs.get("endpoint_url") or ""
        self._foreign = bool(given) and given.rstrip("/") != os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/")

    def __reduce__(self) -> Any:
        make, (cls, arguments, options) = super().__reduce__()
        return make, (cls, arguments, options if self._foreign else _without_place(options))

    def to_dict(self, *, include_password: bool = True) -> dict[str, Any]:
        """As fsspec's, without endpoint and keys of the facility's own S3."""
        described: dict[str, Any] = super().to_dict(include_password=include_password)
        return described if self._foreign else _without_place(described)

    async def _cat_file(self, path: str, *args: Any, **kwargs: Any) -> bytes:
        # s3fs asks for the size first, to read large objects in parts at once. A chunk is read whole, and a question
        # before each read would double the requests.
        kwargs.setdefault("max_concurrency", 1)
        data: bytes = await super()._cat_file(path, *args, **kwargs)
        return data

    async def _pipe_file(self, path: str, data: bytes, chunksize: int = OBJECT_BYTES, **kwargs: Any) -> Any:
        # Parts of a multipart upload are objects of their own: up to 64 MiB a chunk stays one object on one place.
        return await super()._pipe_file(path, data, chunksize=chunksize, **kwargs)

    async def _call_s3(self, method: str, *arguments: Any, **kwargs: Any) -> Any:
        answer = await super()._call_s3(method, *arguments, **kwargs)
        if method == "get_object" and not self._foreign:
            headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
            counter().add(
                kwargs.get("Bucket", ""),
                kwargs.get("Key", ""),
                int(answer.get("ContentLength") or 0),
                headers.get(SERVED_BY, ""),
            )
        return answer


def _without_place(options: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in options.items() if name not in PLACE_AND_KEYS}
    if isinstance(kept.get("client_kwargs"), dict):
        hidden = ("endpoint_url", "aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        kept["client_kwargs"] = {name: value for name, value in kept["client_kwargs"].items() if name not in hidden}
    return kept
