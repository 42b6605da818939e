"""pyarrow's own S3: ``pyarrow.fs.S3FileSystem()`` with nothing given means the facility's, as it does for boto3.

Its addresses (``pyarrow.fs.FileSystem.from_uri``, and so pandas' `read_parquet`) go by ``AWS_ENDPOINT_URL`` already;
its constructor does not, and asks amazonaws.com. Needless once it does. `appliance.on_import` puts it in place.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any


def install(module: ModuleType) -> None:
    """Complete ``pyarrow.fs``."""
    own: Any = getattr(module, "S3FileSystem", None)
    if own is None:  # a build of pyarrow without S3
        return

    class Kind(type(own)):  # type: ignore[misc,valid-type]
        def __instancecheck__(cls, instance: Any) -> bool:
            # Those of addresses, and unpickled ones, are pyarrow's.
            return isinstance(instance, own) if cls is S3FileSystem else super().__instancecheck__(instance)

    class S3FileSystem(own, metaclass=Kind):  # type: ignore[misc,valid-type]
        def __init__(self, *arguments: Any, endpoint_override: str | None = None, **options: Any):
            endpoint = endpoint_override or os.environ.get("AWS_ENDPOINT_URL")
            super().__init__(*arguments, endpoint_override=endpoint, **options)

    # Under the name by which a pickle finds it.
    S3FileSystem.__module__, S3FileSystem.__qualname__ = module.__name__, "S3FileSystem"
    S3FileSystem.__doc__ = own.__doc__
    module.S3FileSystem = S3FileSystem  # type: ignore[attr-defined]
