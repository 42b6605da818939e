"""What can go wrong with a map. Callers that only prefer locality catch the base class and go on without."""


class PlacementError(Exception):
    """Anything that keeps placement from knowing where an object lies."""


class MapError(PlacementError):
    """A text is no cluster map: truncated, of another format, or contradicting itself."""


class PlacementUnavailable(PlacementError):  # noqa: N818 - named as its callers say it
    """The placement service gives no usable map now, and no map fetched before is young enough to stand in."""


class UnknownPlace(PlacementError):  # noqa: N818
    """The map does not say where this bucket's objects lie; the message says why."""


class ClusterError(PlacementError):
    """The cluster did not answer, refused, or answered something that is no complete picture (yet)."""


class HttpError(PlacementError):
    """An HTTP server gave no usable response; the message says what was wrong with it."""
