"""What keeps a release from being made or believed."""

from __future__ import annotations


class ReleaseError(Exception):
    """Says in one line what is wrong, and the way out where there is one."""
