"""Functions of other libraries, and digests of their source, for the tests that tell when one has changed."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable
from typing import Any


def function_of(part: str) -> Callable[..., Any] | None:
    """The function behind a part (``module:attribute.attribute``), unwrapped; None where it is no function."""
    module, _, path = part.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = inspect.getattr_static(found, name, None)
    if isinstance(found, property):
        found = found.fget
    found = getattr(found, "__func__", found)
    found = inspect.unwrap(found) if callable(found) else found
    return found if inspect.isfunction(found) else None


def digest(function: Callable[..., Any]) -> str:
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:12]
