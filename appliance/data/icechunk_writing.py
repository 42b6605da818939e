"""``icechunk.xarray.to_icechunk`` with the xarray that the environment has.

Icechunk 1.1.21 gives xarray's ``ZarrStore.open_group`` two arguments, both None, that xarray (2026.9.0) has no more.
What is None and not known is left out. `tests/unit/data/test_commits.py` tells when this is needless.
"""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any


def install(module: Any) -> None:
    """Complete ``icechunk.xarray``."""
    own = module.ZarrStore.open_group
    known = inspect.signature(own).parameters

    def open_group(**given: Any) -> Any:
        return own(**{name: value for name, value in given.items() if name in known or value is not None})

    module.ZarrStore = SimpleNamespace(open_group=open_group)
