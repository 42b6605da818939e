"""Icechunk repositories on the facility's S3, opened with what the process itself knows of endpoint and keys."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import fsspec

from appliance.compute.reading.objects import own_access
from appliance.data import DataError, manifests
from appliance.data.references import ArrayReferences, Part
from appliance.placement.model.s3_address import S3Address

BRANCH = "main"


class Session:
    """Icechunk's session of a snapshot, and what it knows of the arrays' manifests.

    Raises ``DataError`` where there is no repository.
    """

    def __init__(self, url: str, snapshot: str):
        repository = opened(url)
        address = S3Address.parse(url)
        self._folder = str(S3Address(address.bucket, address.key.strip("/")))
        containers = repository.config.virtual_chunk_containers or {}
        # The longest prefix counts, as in Icechunk.
        self._containers = sorted(containers.values(), key=lambda container: -len(container.url_prefix))
        # Icechunk's own "inspect_snapshot" keeps all other threads from running until S3 has answered (1.1.21).
        with ThreadPoolExecutor(1) as thread:
            asked = thread.submit(lambda: asyncio.run(repository.inspect_snapshot_async(snapshot, pretty=False)))
            described = json.loads(asked.result())
        self._arrays = {node["path"].strip("/"): node for node in described["nodes"] if node["node_type"] == "array"}
        self.store = repository.readonly_session(snapshot_id=snapshot).store

    def references_of(self, path: str) -> ArrayReferences | None:
        """The references of an array; None where there is no such array.

        Raises ``FormatError`` for a format of manifests that is not known, and ``OSError`` where they cannot be read.
        """
        node = self._arrays.get(path)
        if node is None:
            return None
        parts = [
            Part(
                tuple((first, end) for first, end in listed["extents"]),
                manifests.parse(self._manifest(listed["id"]), listed["id"], node["id"]),
            )
            for listed in node["manifest_refs"]
        ]
        return ArrayReferences(path, parts, f"{self._folder}/chunks/", self._resolve)

    def _manifest(self, name: str) -> bytes:
        content: bytes = fsspec.filesystem("s3").cat_file(f"{self._folder}/manifests/{name}")
        return content

    def _resolve(self, location: str) -> str | None:
        """The plain address of a location that Icechunk has escaped; None where it is not on the facility's S3."""
        try:
            url = unquote(location, errors="strict")
        except UnicodeDecodeError:
            return None
        if (
            S3Address.find(url) is None
            or any(part in (".", "..") for part in url.split("/"))
            or set("?#") & {*location}
        ):
            return None  # Icechunk may understand it otherwise
        container = next((c for c in self._containers if url.startswith(_closed(c.url_prefix))), None)
        return url if container is not None and own(container) else None


def own(container: Any) -> bool:
    """Whether a container of virtual chunks is on the facility's S3, and read with the user's keys."""
    options = getattr(container.store, "_0", None)
    if "S3" not in type(container.store).__name__ or options is None:
        return False
    endpoint = (options.endpoint_url or "").rstrip("/")
    return not options.anonymous and endpoint in ("", os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/"))


def opened(url: str) -> Any:
    """The Icechunk repository there, with the facility's keys for containers on its S3 and for no others.

    Raises ``DataError`` where there is none.
    """
    import icechunk

    where = storage(url)
    if not icechunk.Repository.exists(where):
        raise DataError(f"{url}: there is no Icechunk repository, and no name of references (.json)")
    containers = (icechunk.Repository.fetch_config(where) or icechunk.RepositoryConfig()).virtual_chunk_containers
    prefixes = [container.url_prefix for container in (containers or {}).values() if own(container)]
    return icechunk.Repository.open(where, authorize_virtual_chunk_access=keys(prefixes))


def repository(url: str, *, create: bool = False) -> Any:
    """The Icechunk repository there, as ``icechunk.Repository``: to read, to commit to, for branches and tags.

    Endpoint and keys are this process's own, as of everything else on the facility's S3.

    Args:
        url: ``s3://bucket/name``.
        create: make one where there is none.

    Raises:
        DataError: there is none, or other objects lie where it would be made.
    """
    import icechunk

    if create and not icechunk.Repository.exists(storage(url)):
        try:
            icechunk.Repository.create(storage(url))
        except icechunk.IcechunkError as error:
            if "clean prefix" in str(error):
                raise DataError(
                    f"{url}: is no place for an Icechunk repository, as there are other objects below it"
                ) from error
            # Another process made it at the same moment, or the answer was lost: either way it is there.
            if not icechunk.Repository.exists(storage(url)):
                raise
    return opened(url)


def snapshot_of(repository: Any, url: str, at: str) -> str:
    """The id of the snapshot of a branch, of a tag, or of itself. Raises ``DataError`` where nothing is called so."""
    import icechunk

    branches, tags = repository.list_branches(), repository.list_tags()
    found: str
    if at in branches:
        found = repository.lookup_branch(at)
        if at in tags and repository.lookup_tag(at) != found:
            raise DataError(f"{url}: a branch and a tag are called {at!r}: give the id of the snapshot")
        return found
    if at in tags:
        found = repository.lookup_tag(at)
        return found
    try:
        found = repository.lookup_snapshot(at).id
    except (icechunk.IcechunkError, ValueError) as error:
        raise DataError(
            f"{url}: there is no branch, tag or snapshot {at!r}; branches: {', '.join(sorted(branches))}; "
            f"tags: {', '.join(sorted(tags)) or 'none'}"
        ) from error
    return found


def named(url: str) -> S3Address:
    """Return the address of something in a bucket.

    Raises:
        AddressError: the text is no address on S3.
        DataError: it names a bucket only.
    """
    address = S3Address.parse(url)
    if not address.key.strip("/"):
        raise DataError(f"{url!r} names a bucket only: write {address}/NAME")
    return address


_users: set[int] = set()  # the processes that used Icechunk: this one, and the one that it was forked from


def refuse_in_fork() -> None:
    """Note that this process uses Icechunk, or refuse that it does.

    Raises:
        DataError: it was forked from one that did. Icechunk's threads stayed there, and it would wait without end.
    """
    _users.add(os.getpid())
    if len(_users) > 1:
        raise DataError(
            "Icechunk does not work in a process that was forked from one that used it: start the pool with "
            'multiprocessing.get_context("forkserver"), or open the dataset in the forked processes alone'
        )


def storage(url: str) -> Any:
    """Return Icechunk's storage at an address; raises as ``named`` and ``refuse_in_fork``."""
    import icechunk

    refuse_in_fork()
    address = named(url)
    return icechunk.s3_storage(bucket=address.bucket, prefix=address.key.strip("/"), from_env=True, **client())


def client() -> dict[str, Any]:
    """How Icechunk reaches the facility's S3, whose endpoint and keys it finds in the environment by itself."""
    access = own_access()
    return {"region": access.region, "allow_http": access.endpoint.startswith("http://"), "force_path_style": True}


def keys(prefixes: Sequence[str]) -> Any:
    """This process's keys, for the containers with these prefixes."""
    import icechunk

    return icechunk.containers_credentials({prefix: icechunk.s3_credentials(from_env=True) for prefix in prefixes})


def _closed(prefix: str) -> str:
    return prefix if prefix.endswith("/") else f"{prefix}/"
