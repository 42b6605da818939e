"""How texts are written that a program takes: its pattern, what to give instead, and how much it means."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import PurePosixPath

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# Where the system or other programs keep what is theirs: nothing of the facility's lies directly there,
OF_THE_SYSTEM = frozenset(
    "/ /bin /boot /dev /etc /lib /lib64 /nix /proc /root /run /sbin /sys /tmp /usr /var".split()  # noqa: SIM905
)
# and nothing at all below these, which are empty after a boot, or are no disk.
NOT_KEPT = ("/boot", "/dev", "/proc", "/run", "/sys", "/tmp")  # noqa: S108  (refused)
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGT]?)")
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]{1,2})?)%")


@dataclasses.dataclass(frozen=True)
class Form:
    """A form of texts: what they match as a whole, and what to ``give`` where one does not."""

    pattern: re.Pattern[str]
    give: str

    def fits(self, text: str) -> bool:
        """Tell whether ``text`` is of this form."""
        return self.pattern.fullmatch(text) is not None


# The names that meta/values.yml of the roles uses.
FORMS = {
    # JupyterHub's ByteSpecification, which tmpfs takes, too.
    "size": Form(re.compile(r"[0-9]+[KMGT]"), "give a whole number and one of K, M, G, T, such as 2G"),
    # systemd.resource-control(5), MemoryMax=.
    "share": Form(
        re.compile(r"[0-9]+(\.[0-9]+)?[KMGT]?|(100|[0-9]{1,2}(\.[0-9]{1,2})?)%"),
        "give percent of the machine's memory, such as 30%, or a size, such as 8G",
    ),
    "uuid": Form(
        re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        "give a UUID in lower case: `appliance secrets INVENTORY_DIR` makes one where there is none",
    ),
    "address": Form(
        re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?(/[^\s/?#]+)*"),
        "give an address that begins with http:// or https:// and does not end with a slash",
    ),
    # sources.list(5), URIs.
    "packages": Form(
        re.compile(r"https?://[^\s/]+(/\S*)?|(?!https?:)[a-z][a-z0-9+.-]*:/\S*"),
        "give an address as apt takes it, such as http://mirror.example.org/debian",
    ),
    "directory": Form(
        re.compile(r"(/(?!\.\.?(/|$))[\w.@+-]+)+"),
        "give a directory of the facility's own, as a path from the root, without a slash at its end",
    ),
    "file": Form(re.compile(r"(/(?!\.\.?(/|$))[\w.@+-]+)+"), "give a path from the root"),
    "text": Form(
        re.compile(r"(?!\s)[^\x00-\x1f\x7f<>{}]{1,200}(?<!\s)"),
        "give one line of 1 to 200 characters without < > { }, and without spaces at its ends",
    ),
    "host": Form(
        re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?|[0-9a-fA-F:.]+(%\S+)?"),
        "give a name of DNS or an IP address",
    ),
    # Debian Policy, 5.6.1; behind it what apt takes: an architecture, a version or a suite.
    "package": Form(
        re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?([=/]\S+)?"), "give the name of a package as apt takes it"
    ),
    "group": Form(re.compile(r"[a-z_][a-z0-9_-]{0,31}"), "give a valid name of a Unix group"),
    "interpreter": Form(
        re.compile(r"/(\S+/)?python3\.13"),
        "write /usr/bin/python3.13: `python3` becomes another one with Ceph's packages",
    ),
}


def path_fault(text: str) -> str:
    """Return why no directory of the facility's may be at ``text``, or nothing."""
    path = PurePosixPath(text)
    if str(path) in OF_THE_SYSTEM:
        return f"give a directory of the facility's own: {path} is the system's"
    for place in NOT_KEPT:
        if path.is_relative_to(place):
            return f"give another directory: what is below {place} does not stay"
    return ""


def amount(text: str) -> tuple[float, str]:
    """Return what a size, a share or a number amounts to, in ``percent`` or as a ``number`` (bytes, figures).

    Raises ValueError where it is none of them, or not finite.
    """
    if found := _PERCENT.fullmatch(text):
        return float(found[1]), "percent"
    if found := _AMOUNT.fullmatch(text):
        return float(found[1]) * UNITS[found[2]], "number"
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number that can be kept")
    return number, "number"
