"""What the gateway's backend asks a storage host's launcher, and what that answers: one of each at a time.

Each message is a frozen dataclass that travels as a JSON object; its field ``type`` names the class. `parse_request`
and `parse_answer` check every field, because either end may be in the wrong hands. Standard library only: the launcher
runs as root.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, TypeVar

from appliance.checked_json import (
    AbsolutePath,
    Check,
    FaultyError,
    PositiveWhole,
    Seconds,
    Text,
    is_text,
    matching,
    parse,
    read_object,
)

REQUEST_BYTES_MAX = 2**20
_SECRET_CHARACTERS_MAX = 2**16

# dask-gateway's names of clusters and workers.
_HEX_NAME = r"[0-9a-f]{32}"
HexName = Annotated[str, matching(_HEX_NAME, "give 32 hexadecimal digits, as the gateway does")]
OptionalHexName = Annotated[
    str,
    Check(
        lambda value: value == "" or HexName.__metadata__[0].accepts(value),  # type: ignore[attr-defined]
        "give 32 hexadecimal digits, or nothing for the scheduler",
    ),
]
SchedulerAddress = Annotated[
    str, matching(r"tls://[0-9a-zA-Z.\[\]:-]+:[0-9]{1,5}", "give an address such as tls://ADDRESS:PORT")
]
Secret = Annotated[
    str,
    Check(
        lambda value: (
            isinstance(value, str)
            and 0 < len(value) <= _SECRET_CHARACTERS_MAX
            and value.isascii()
            and "\0" not in value
        ),
        f"give a text of at most {_SECRET_CHARACTERS_MAX} ASCII characters",
        secret=True,
    ),
]
UnitNames = Annotated[
    tuple[str, ...],
    Check(lambda value: isinstance(value, list) and all(map(is_text, value)), "give a list of units' names"),
]
Reason = Annotated[str, Check(lambda value: isinstance(value, str), "give a text")]


class RefusedError(Exception):
    """A message is not taken, or a request is not carried out; the text says why, in terms of the message."""


def unit_name(user: str, cluster: str, worker: str = "") -> str:
    """Return the name of the unit of a user's scheduler, or with ``worker`` of one of its workers.

    The user's name stands in it, so it is nobody else's. Both other names are hexadecimal and have no hyphen, so user
    ``a`` has no unit that could be one of user ``a-b``.

    >>> unit_name("alice", "0" * 32)
    'dask-alice-00000000000000000000000000000000-scheduler.service'
    """
    return f"dask-{user}-{cluster}-{f'worker-{worker}' if worker else 'scheduler'}.service"


@dataclass(frozen=True, kw_only=True)
class Message:
    """A request or an answer: a JSON object whose field ``type`` is the name of its class."""

    def to_json(self) -> str:
        """Return the message as a JSON object, which holds its secrets."""
        return json.dumps({"type": type(self).__name__, **dataclasses.asdict(self)})


@dataclass(frozen=True, kw_only=True)
class Request(Message):
    """What the backend asks for, always in the name of one user and for one of that user's clusters."""

    user: Text
    cluster: HexName


@dataclass(frozen=True, kw_only=True)
class Start(Request):
    """Start a unit.

    Attributes:
        environment: the store path that it runs from.
        memory: the most that it may use, in bytes.
        cores: the most that it may use.
        token: with which it speaks to the gateway.
        tls_cert: the cluster's certificate, PEM.
        tls_key: the certificate's key, PEM.
    """

    SECRETS: ClassVar = ("token", "tls_cert", "tls_key")

    environment: AbsolutePath
    memory: PositiveWhole
    cores: PositiveWhole
    token: Secret = field(repr=False)
    tls_cert: Secret = field(repr=False)
    tls_key: Secret = field(repr=False)

    @property
    def unit(self) -> str:
        """The name of the unit to start, as `unit_name` makes it."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class StartScheduler(Start):
    """Start the cluster's scheduler. Periods are in seconds; an ``idle_timeout`` of 0 is none."""

    heartbeat_period: Seconds
    adaptive_period: Seconds
    idle_timeout: Seconds

    @property
    def unit(self) -> str:
        """The scheduler's unit, ``dask-USER-CLUSTER-scheduler.service``."""
        return unit_name(self.user, self.cluster)


@dataclass(frozen=True, kw_only=True)
class StartWorker(Start):
    """Start a worker of the cluster, with ``threads`` threads."""

    worker: HexName
    threads: PositiveWhole
    scheduler_address: SchedulerAddress

    @property
    def unit(self) -> str:
        """The worker's unit, ``dask-USER-CLUSTER-worker-WORKER.service``."""
        return unit_name(self.user, self.cluster, self.worker)


@dataclass(frozen=True, kw_only=True)
class Stop(Request):
    """Stop the cluster's scheduler, or the ``worker`` that is named."""

    worker: OptionalHexName

    @property
    def unit(self) -> str:
        """The unit to stop: the worker's, or the scheduler's where ``worker`` is empty."""
        return unit_name(self.user, self.cluster, self.worker)


@dataclass(frozen=True, kw_only=True)
class Status(Request):
    """Ask which units of the cluster run on this host."""


@dataclass(frozen=True, kw_only=True)
class Started(Message):
    """The unit runs."""

    unit: Text


@dataclass(frozen=True, kw_only=True)
class Stopped(Message):
    """The unit stops, or has stopped before."""

    unit: Text


@dataclass(frozen=True, kw_only=True)
class Running(Message):
    """The cluster's units that run on this host, or are about to."""

    units: UnitNames


@dataclass(frozen=True, kw_only=True)
class Refused(Message):
    """The request is not carried out, because it asks for something that it may not have."""

    reason: Reason


@dataclass(frozen=True, kw_only=True)
class Failed(Message):
    """The host could not carry out the request."""

    reason: Reason


Answer = Started | Stopped | Running | Refused | Failed

_REQUESTS: dict[str, type[StartScheduler | StartWorker | Stop | Status]] = {
    kind.__name__: kind for kind in (StartScheduler, StartWorker, Stop, Status)
}
_ANSWERS: dict[str, type[Answer]] = {kind.__name__: kind for kind in (Started, Stopped, Running, Refused, Failed)}


def parse_request(text: bytes) -> StartScheduler | StartWorker | Stop | Status:
    """Read a request.

    Raises:
        RefusedError: it is none; each fault is named.
    """
    if len(text) > REQUEST_BYTES_MAX:
        raise RefusedError(f"the request is longer than {REQUEST_BYTES_MAX} bytes")
    return _parse(_REQUESTS, text)


def parse_answer(text: bytes) -> Answer:
    """Read an answer.

    Raises:
        RefusedError: it is none; each fault is named.
    """
    return _parse(_ANSWERS, text)


_Kind = TypeVar("_Kind", bound=Message)


def _parse(kinds: dict[str, type[_Kind]], text: bytes) -> _Kind:
    try:
        values = parse(text)
        if not isinstance(values, dict):
            raise FaultyError(["this is no JSON object"])
        name = values.pop("type", None)
        if not isinstance(name, str) or name not in kinds:
            raise FaultyError([f"type: give one of {', '.join(kinds)}"])
        return read_object(kinds[name], values)
    except FaultyError as error:
        raise RefusedError("; ".join(error.faults)) from None
