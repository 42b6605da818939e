"""One colour for each host, the same in all pictures of a facility."""

from __future__ import annotations

import colorsys


def colour(place: int) -> str:
    """The colour of the host at ``place`` among all hosts by name, such as ``#4f89d1``."""
    # Steps of the golden angle: any number of hosts, and neighbours always differ.
    parts = colorsys.hsv_to_rgb((0.58 + place * 0.381966) % 1.0, 0.62, 0.82 - 0.2 * (place % 3 == 2))
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)
