"""Datasets that everybody may read, without keys; and taken back.

What is published stands in one list of the bucket (``believed.PUBLISHED``), and one statement of the bucket's policy is
made of that list: it opens the objects of these datasets, their pictures and the list itself, and nothing else. The
policy's other statements are left as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import fsspec
import obstore
from obstore.exceptions import BaseError

from appliance.compute.reading import objects
from appliance.compute.reading.scratch import SUFFIX
from appliance.data import DataError
from appliance.data.cataloguing import believed, kept
from appliance.data.cataloguing.opening import targets
from appliance.data.cataloguing.search import Entry
from appliance.placement.model.s3_address import S3Address

STATEMENT = "appliance-published"  # its Sid
POLICY_BYTES = 20 * 2**10  # S3's limit on a bucket's policy
TRIES = 20
OF_ONE_OBJECT = ("kerchunk", "netcdf")  # kinds; what is of another kind is all that lies below its address
FILES_ASKED = 8  # files of a withdrawn dataset that are looked at as somebody without keys
# How often each is asked for. Where no gateway is on this machine they answer in turn, so each of a few is heard;
# elsewhere it is the nearest one alone.
ASKED = 8
LOOKS = 5  # before what is seen is believed to be no other process's doing
# In the names of a policy's resources these mean more than themselves (S3 User Guide, "Bucket policy resources").
MEAN_MORE = "*?$"


def publish(url: str, *, licence: str, citation: str) -> Entry:
    """Let everybody read a dataset that is in the catalogue, and list it for everybody.

    Args:
        url: ``s3://bucket/name``.
        licence: under which it may be used: an identifier of SPDX such as "CC-BY-4.0", or "other".
        citation: how it is to be cited.

    Returns:
        its entry.

    Raises:
        DataError: it is not in the catalogue, licence or citation are none, or it cannot be opened to everybody without
            opening something else; nothing was changed.
        OSError: S3 cannot be reached, or refuses.
    """
    address = _address(url)
    if address.bucket.endswith(SUFFIX):
        raise DataError(f"{address}: is in scratch, and expires: publish a copy of it in a bucket that does not")
    feature = _listed(address.bucket, believed.ITEMS).get(str(address))
    if feature is None:
        raise DataError(f"{address}: is not in the catalogue: `appliance data record {address}` first")
    if believed.licence(licence) is None:
        raise DataError(f"licence {licence!r} is none: write an identifier of SPDX, such as CC-BY-4.0, or other")
    if not believed.text(citation):
        raise DataError("the citation is empty: say how the dataset is to be cited")
    said = {"license": licence, "sci:citation": believed.text(citation)}
    feature["properties"] |= said
    feature["properties"][believed.FILES] = _files(address, believed.kind_of(feature), _listed(address.bucket))
    if believed.kind_of(feature) == "zarr" and not _is_consolidated(address):
        raise DataError(
            f"{address}: has no consolidated metadata, and nobody else may list what is there, so nobody else could "
            f'open it: `zarr.consolidate_metadata("{address}")` first'
        )
    _check_size(address.bucket, [*_listed(address.bucket).values(), feature])

    def note(items: dict[str, Any]) -> None:
        if str(address) in items:
            items[str(address)]["properties"] |= said

    kept.change(address.bucket, believed.ITEMS, note)
    kept.change(address.bucket, believed.PUBLISHED, lambda items: items.update({str(address): feature}))
    try:
        _open(address.bucket)
        first = _first(address, believed.kind_of(feature))
        if first is None:
            raise DataError(f"{address}: there is nothing")
        if not _settled(address.bucket, partial(_is_read, address.bucket, first)):
            raise DataError(
                f"{address}: everybody is still refused: a statement of the bucket's policy or its PublicAccessBlock "
                "forbids it: change that, and publish it again; it is not published"
            )
    except BaseException:
        _close(address)
        raise
    return Entry(feature, published=True)


def withdraw(url: str) -> None:
    """Take a dataset back: nobody reads it without its owner's leave any more. The dataset stays.

    It may be called again for one that is withdrawn, and then makes sure. Whoever has a right to the bucket by another
    way keeps it.

    Raises:
        DataError: it is neither published nor in the catalogue, or somebody without keys may still read some of it;
            the message says what to do.
        OSError: S3 cannot be reached, or refuses.
    """
    address = _address(url)
    _policy(address.bucket, None)  # S3's own word, where the bucket is another's
    feature = _listed(address.bucket).get(str(address)) or _listed(address.bucket, believed.ITEMS).get(str(address))
    if feature is None:
        raise DataError(f"{address}: is neither published nor in the catalogue; `appliance data find` lists what is")
    others = _close(address)
    if within := [believed.address_of(one) for one in others if _covers(one, address)]:
        raise DataError(
            f"{address}: is not listed any more, but everybody may still read it as a part of {within[0]}, which is "
            "published: withdraw that too"
        )
    for key in _looked_at(address, feature, others):
        if not _settled(address.bucket, partial(_is_closed, address.bucket, key)):
            raise DataError(
                f"{address}: is not listed any more, but {S3Address(address.bucket, key)} may still be read by "
                "everybody: withdraw it again, in case a gateway has not heard of it yet; if that says the same, it is "
                "opened by an ACL or another statement of the bucket's policy: take that back too"
            )


def _close(address: S3Address) -> list[dict[str, Any]]:
    """Take a dataset out of policy and list; return the items that stay published."""
    listed = _listed(address.bucket)
    listed.pop(str(address), None)
    # Closed first: one who is stopped in between leaves a dataset that is listed and not read, never the other way.
    _put_statement(address.bucket, listed.values())
    kept.change(address.bucket, believed.PUBLISHED, lambda items: items.pop(str(address), None) and None)
    _open(address.bucket)
    return list(_listed(address.bucket).values())


def _looked_at(address: S3Address, feature: dict[str, Any], others: list[dict[str, Any]]) -> list[str]:
    """Some of the objects that a withdrawn dataset had opened, and that no other one opens."""
    first = _first(address, believed.kind_of(feature))
    keys = [first] if first else []
    keys += feature["properties"][believed.FILES][:FILES_ASKED]
    if believed.PREVIEW in feature["assets"]:
        keys.append(S3Address.parse(feature["assets"][believed.PREVIEW]["href"]).key)
    opened = set(_resources(others))
    return [
        key
        for key in keys
        if key not in opened and not any(_covers(one, S3Address(address.bucket, key)) for one in others)
    ]


def _address(url: str) -> S3Address:
    address = S3Address.parse(url.rstrip("/"))
    if not address.key or address.key.split("/")[0] == believed.ITEMS.split("/")[0]:
        raise DataError(f"{url}: is no dataset: write {S3Address(address.bucket)}/NAME")
    if found := [c for c in MEAN_MORE if c in address.key]:
        raise DataError(f"{url}: with {found[0]!r} in its name more than it would be published: give it another name")
    return address


def _listed(bucket: str, key: str = believed.PUBLISHED) -> dict[str, dict[str, Any]]:
    return {believed.address_of(one): one for one in believed.features(kept.read(bucket, key) or b"", bucket)}


def _files(address: S3Address, kind: str, published: dict[str, dict[str, Any]]) -> list[str]:
    """The keys of the files that a dataset in place refers to, but for those that are published anyhow."""
    # It looks for objects that need not be there, such as its configuration, and ends where S3 refuses these instead.
    if kind == "icechunk":
        raise DataError(
            f"{address}: is an Icechunk repository, which nobody can open who may not list its bucket: publish it as "
            "Zarr, or files in place by `appliance data virtualize … --format kerchunk`"
        )
    if kind != "kerchunk":
        return []
    files = set()
    for target in dict.fromkeys(targets(str(address))):
        file = S3Address.find(target)
        if file is None or file.bucket != address.bucket:
            raise DataError(f"{address}: refers to {target}, which is in another bucket: copy the file to this one")
        if any(c in file.key for c in MEAN_MORE) or not believed.is_plain(file.key):
            raise DataError(f"{address}: refers to {target}, whose name would publish more than it: rename the file")
        if not any(_covers(one, file) for one in published.values()):
            files.add(file.key)
    if len(files) > believed.NAMES_MAX:
        raise DataError(f"{address}: {_too_many(address)}")
    return sorted(files)


def _is_consolidated(address: S3Address) -> bool:
    """Whether the metadata of all of a Zarr store's arrays stand in one object, in either version of the format."""
    if kept.read(address.bucket, f"{address.key}/.zmetadata") is not None:
        return True
    try:
        told = json.loads(kept.read(address.bucket, f"{address.key}/zarr.json") or b"{}")
    except ValueError:
        return False
    return isinstance(told, dict) and bool(told.get("consolidated_metadata"))


def _too_many(address: S3Address) -> str:
    folder = f"{S3Address(address.bucket)}/FOLDER"
    return (
        "refers to more files than a policy can name: publish their folder first (`appliance data record "
        f"{folder} --kind files`, `appliance data publish {folder} …`)"
    )


def _covers(feature: dict[str, Any], file: S3Address) -> bool:
    """Whether a published item opens an object because it opens all that is below its address."""
    return believed.kind_of(feature) not in OF_ONE_OBJECT and str(file).startswith(f"{believed.address_of(feature)}/")


def _resources(features: Iterable[dict[str, Any]]) -> Iterator[str]:
    for feature in features:
        address, kind = S3Address.parse(believed.address_of(feature)), believed.kind_of(feature)
        # A list that was written by hand opens no more than one that was not.
        if any(c in address.key for c in MEAN_MORE):
            continue
        yield address.key if kind in OF_ONE_OBJECT else f"{address.key}/*"
        yield from (name for name in feature["properties"][believed.FILES] if not any(c in name for c in MEAN_MORE))
        if believed.PREVIEW in feature["assets"]:
            yield S3Address.parse(feature["assets"][believed.PREVIEW]["href"]).key


def statement(bucket: str, features: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The statement of a bucket's policy that opens published items; None where there are none."""
    names = sorted(set(_resources(features)))
    if not names:
        return None
    return {
        "Sid": STATEMENT,
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": [f"arn:aws:s3:::{bucket}/{name}" for name in [believed.PUBLISHED, *names]],
    }


def _check_size(bucket: str, features: list[dict[str, Any]]) -> None:
    made = _policy(bucket, statement(bucket, features))
    if len(json.dumps(made)) > POLICY_BYTES:
        address = S3Address.parse(believed.address_of(features[-1]))
        raise DataError(f"{address}: {_too_many(address)}, or withdraw others of s3://{bucket}")


def _open(bucket: str) -> None:
    """Make the policy what the list says, also where others change the list meanwhile."""
    for _ in range(TRIES):
        listed = _listed(bucket)
        _put_statement(bucket, listed.values())
        if _listed(bucket) == listed:
            return
    raise DataError(f"s3://{bucket}: others publish and withdraw without end: try again")


def _settled(bucket: str, is_so: Callable[[], bool]) -> bool:
    """Whether something is so once the policy is what the list says.

    Another process that publishes meanwhile may write a policy of the list as it was a moment ago. It sees so and
    writes it again: what is seen in between is no answer.
    """
    for _ in range(LOOKS):
        if is_so():
            return True
        _open(bucket)
    return is_so()


def _policy(bucket: str, own: dict[str, Any] | None) -> dict[str, Any]:
    """The bucket's policy with this statement in place of the one that is there."""
    try:
        told = json.loads(fsspec.filesystem("s3").call_s3("get_bucket_policy", Bucket=bucket)["Policy"])
    except OSError as error:
        if "NoSuchBucketPolicy" not in str(error) and not isinstance(error, FileNotFoundError):
            raise
        told = {}
    statements = told.get("Statement", [])
    others = [
        one for one in (statements if isinstance(statements, list) else [statements]) if one.get("Sid") != STATEMENT
    ]
    return {"Version": "2012-10-17", **told, "Statement": [*others, *([own] if own else [])]}


def _put_statement(bucket: str, features: Iterable[dict[str, Any]]) -> None:
    files = fsspec.filesystem("s3")
    made = _policy(bucket, statement(bucket, features))
    if made["Statement"]:
        files.call_s3("put_bucket_policy", Bucket=bucket, Policy=json.dumps(made))
    else:
        files.call_s3("delete_bucket_policy", Bucket=bucket)


def _is_read(bucket: str, key: str) -> bool:
    """Whether somebody without keys reads an object."""
    try:
        obstore.head(objects.store(bucket, objects.own_access()._replace(anonymous=True)), key)
    except (BaseError, OSError) as error:
        told = objects.plain(error, bucket, key)
        if isinstance(told, FileNotFoundError | PermissionError):
            return False
        raise told from error
    return True


def _is_closed(bucket: str, key: str) -> bool:
    """Whether somebody without keys is refused an object each time."""
    return not any(_is_read(bucket, key) for _ in range(ASKED))


def _first(address: S3Address, kind: str) -> str | None:
    """The key of a dataset's first object; None where there is none."""
    if kind in OF_ONE_OBJECT:
        return address.key
    client = objects.store(address.bucket, objects.own_access())
    for listed in obstore.list(client, f"{address.key}/", chunk_size=1):
        return str(listed[0]["path"])
    return None
