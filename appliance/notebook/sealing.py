"""What passes between a browser and a dashboard: what the page needs, and nothing that concerns the hub.

A dashboard's pages come from a scheduler, which its researcher controls, and which may run what others wrote. They are
shown at an address of the hub's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Header = tuple[str, str]

# Of a browser's request: no cookie, no token, no origin; and nothing that would be answered without saying of what kind
# the content is.
_ASKED = frozenset({"accept", "accept-encoding", "accept-language", "cache-control", "range"})
# Of an answer: no cookie, no log-in, no permission for other pages, no rule of its own.
_ANSWERED = frozenset(
    {"cache-control", "content-encoding", "content-range", "content-type", "etag", "last-modified", "location", "vary"}
)

# The page has no origin: its scripts run, and reach neither cookies nor storage nor other pages nor the hub's answers.
# JupyterLab's Dask panel shows plots in frames.
SEAL: tuple[Header, ...] = (
    ("Content-Security-Policy", "sandbox allow-scripts allow-downloads; frame-ancestors 'self'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)

# What a page fetches without cookies, by a key.
_PARTS = ("text/css", "text/javascript", "application/javascript", "image/", "font/")


def asked(headers: Iterable[Header]) -> Iterator[Header]:
    """Yield what of a request's headers a scheduler is told."""
    return ((name, value) for name, value in headers if name.lower() in _ASKED)


def answered(headers: Iterable[Header]) -> Iterator[Header]:
    """Yield the headers with which a scheduler's answer is shown."""
    yield from ((name, value) for name, value in headers if name.lower() in _ANSWERED)
    yield from SEAL


def is_part(content_type: str) -> bool:
    """Whether an answer is a part of a page, neither a page nor figures: such alone is for who has only a key."""
    return content_type.strip().lower().startswith(_PARTS)
