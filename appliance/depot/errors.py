"""What the depot refuses, in words."""

from __future__ import annotations


class DepotError(Exception):
    """Something about the depot is not as it must be; the message names it and the way out."""
