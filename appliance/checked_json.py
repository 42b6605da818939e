"""JSON objects read into frozen dataclasses: every field is checked, and all faults are told at once.

A field's type says how it is checked: ``port: Port`` where ``Port = Annotated[int, Check(…)]``. Settings files and the
messages of the launch protocol are read so. Standard library only, because the launcher runs as root.
"""

from __future__ import annotations

import json
import math
import re
import string
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

LARGEST_PORT = 65535
SECONDS_MAX = 10**9
_SHOWN_CHARACTERS = 100


class FaultyError(ValueError):
    """The values cannot be used. The message has one line for each fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class Check:
    """What a field's value must be.

    Attributes:
        accepts: whether a value, as ``json`` gives it, is right. It gets values of any type.
        advice: what to give instead, as the end of the message.
        secret: the message does not show the value.
    """

    accepts: Callable[[Any], bool]
    advice: str
    secret: bool = False


RecordType = TypeVar("RecordType")


def is_text(value: object) -> bool:
    """Whether a value is a text of one line that is not empty and can be written to a file or a command line."""
    return isinstance(value, str) and bool(value) and value.isprintable()


def is_template(value: object, names: frozenset[str]) -> bool:
    """Whether `str.format` fills a text with one or more of the ``names`` in braces, and needs nothing else."""
    if not is_text(value):
        return False
    try:
        parts = list(string.Formatter().parse(str(value)))
    except ValueError:  # a brace that is alone
        return False
    fields = [(name, form, conversion) for _, name, form, conversion in parts if name is not None]
    return bool(fields) and all(name in names and not form and not conversion for name, form, conversion in fields)


def is_whole(value: object, least: int = 1, most: int | None = None) -> bool:
    """Whether a value is an integer from ``least`` to ``most``, and no boolean."""
    return type(value) is int and value >= least and (most is None or value <= most)


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and no boolean."""
    return type(value) is int or (type(value) is float and math.isfinite(value))


def whole(least: int, advice: str, most: int | None = None) -> Check:
    """Check for an integer from ``least`` to ``most``."""
    return Check(lambda value: is_whole(value, least, most), advice)


def matching(pattern: str, advice: str) -> Check:
    """Check for a text that a regular expression matches from end to end."""
    expression = re.compile(pattern)
    return Check(lambda value: is_text(value) and bool(expression.fullmatch(value)), advice)


def list_of(check: Check, advice: str) -> Check:
    """Check for a list that is not empty, of values that each pass ``check``."""
    return Check(lambda value: isinstance(value, list) and bool(value) and all(map(check.accepts, value)), advice)


_PORT = whole(1, f"give a port from 1 to {LARGEST_PORT}", LARGEST_PORT)
_PATH = matching(r"/.*", "give a path from the root")

Text = Annotated[str, Check(is_text, "give a text of one line that is not empty")]
Flag = Annotated[bool, Check(lambda value: isinstance(value, bool), "give true or false")]
Port = Annotated[int, _PORT]
AbsolutePath = Annotated[str, _PATH]
AbsolutePaths = Annotated[tuple[str, ...], list_of(_PATH, "give a list of paths from the root")]
Url = Annotated[
    str,
    matching(r"(https?|gateway)://[^\s/:]+(:[0-9]{1,5})?(/\S*)?", "give an address such as http://HOST:PORT"),
]
PositiveWhole = Annotated[int, whole(1, "give a whole number of at least 1")]
PositiveNumber = Annotated[float, Check(lambda value: is_number(value) and value > 0, "give a number above 0")]
Seconds = Annotated[
    float,
    Check(lambda value: is_number(value) and 0 <= value <= SECONDS_MAX, f"give seconds from 0 to {SECONDS_MAX}"),
]


def _checks(kind: type[Any]) -> dict[str, Check]:
    """Return the check of each field of a record's class."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in fields(kind)}


def read_object(kind: type[RecordType], values: object) -> RecordType:
    """Make a record of a parsed JSON object.

    Args:
        kind: the record's class, a dataclass. Its method ``faults``, if it has one, names faults between fields.
        values: what ``json`` returned.

    Raises:
        FaultyError: a field is missing, unknown or wrong; each is named, with its value unless that is secret.
    """
    if not isinstance(values, dict):
        raise FaultyError([f"this is no JSON object but {type(values).__name__}"])
    checks = _checks(kind)
    faults = [f"{name}: is missing" for name in checks if name not in values]
    faults += [f"{_shown(name)}: there is no such field" for name in values if name not in checks]
    for name, check in checks.items():
        if name in values and not check.accepts(values[name]):
            value = "" if check.secret else f" = {_shown(values[name])}"
            faults.append(f"{name}{value}: {check.advice}")
    if faults:
        raise FaultyError(faults)
    record = kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
    between: Callable[[], list[str]] | None = getattr(record, "faults", None)
    if between and (faults := between()):
        raise FaultyError(faults)
    return record


def parse(text: bytes) -> object:
    """Parse JSON of any origin.

    Raises:
        FaultyError: it is no JSON in UTF-8, names a field twice, or is nested too deeply.
    """
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_without_repetition)
    except FaultyError:
        raise
    except (ValueError, RecursionError) as error:
        raise FaultyError([f"this is no JSON: {type(error).__name__}"]) from None


def read_file(kind: type[RecordType], path: Path) -> RecordType:
    """Read a settings file.

    Raises:
        FaultyError: it cannot be read or has a fault.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise FaultyError([f"{path}: cannot be read: {error.strerror}"]) from error
    return read_object(kind, parse(text))


def check_file(kind: type[Any], arguments: list[str] | None = None) -> int:
    """Say what is wrong with a settings file before it is installed: the main program of a settings module.

    Args:
        kind: the settings' class.
        arguments: the file's path; by default the program's arguments.

    Returns:
        The exit code: 1 where the file has a fault.
    """
    (path,) = sys.argv[1:] if arguments is None else arguments
    try:
        read_file(kind, Path(path))
    except FaultyError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _without_repetition(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise FaultyError(["a field is there twice"])
    return values


def _shown(value: object) -> str:
    """Return a value as a message shows it: one line, not long, ASCII only."""
    text = ascii(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
