"""The HTML of notebooks and dashboard: Jinja templates beside this module, which escape what they are given."""

from __future__ import annotations

import functools
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, /, **values: object) -> str:
    """Return a template filled in.

    Args:
        template: the file's name.
        values: by the names that the template uses.
    """
    return _environment().get_template(template).render(**values)
