"""Where a secret must not lie: what root reads of a machine, what a researcher sees of it, and a mark in each place."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from intruder import run
from machines import ask

# Paths that are no files, and what everybody's own processes see of themselves.
NO_FILES = r"\( -path /proc -o -path /sys -o -path /dev/pts \) -prune -o"
NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups"
# By place: what root reads of it since a moment. The journal is read with the fields that it adds by itself, of which
# one is the command line. Of the Nix store it is recipes, and small files that are no package's.
PLACES = {
    "journal": "journalctl --no-pager --quiet --output export --since @{since}",
    "logs": "find /var/log -type f -newerct @{since} -not -path '/var/log/journal/*' -exec cat {{}} +",
    "units": "systemctl show --all '*'; cat /run/systemd/transient/*",
    "command lines": "cat /proc/[0-9]*/cmdline",
    "environments": "for each in /proc/[0-9]*; do [ $(stat -c %U $each) = {owner} ] || cat $each/environ; done",
    "files for all": f"cd /; {NOBODY} find / {NO_FILES} -type f -readable -size -16M -newerct @{{since}} "
    "-exec cat {{}} +",
    "temporary directories": "find /tmp /var/tmp /dev/shm /run/lock -type f -exec cat {{}} +",
    "dumps": "find /var/lib/systemd/coredump /var/crash / -maxdepth 1 -type f -exec cat {{}} +",
    "Nix store": "find /nix/store -maxdepth 1 -type f -exec cat {{}} +; find /nix/var /nix/store -mindepth 2 -type f "
    "-size -16k -not -path '*/site-packages/*' -not -path '*/share/*' -exec cat {{}} +",
}
# One file of each kind that is one, and what is done beside them.
FILES = {
    "logs": "/var/log/{name}",
    "files for all": "/usr/local/share/{name}",
    "temporary directories": "/var/tmp/{name}",
    "dumps": "/{name}",
    "Nix store": "/nix/store/{name}",
}
# What a researcher's process sees: each file that it can read and that is new, each process, and what programs tell.
SEEN = """
import stat
found = {}
def look(place, data):
    for name, value in WORDS.items():
        if value.encode() in data:
            found.setdefault(place, set()).add(name)

def read(path):
    try:
        with open(path, "rb") as file:
            return file.read(2**24)
    except OSError:
        return b""

for folder, folders, names in os.walk("/"):
    if folder == "/":
        folders[:] = [name for name in folders if name not in ("proc", "sys")]
    for name in names:
        path = os.path.join(folder, name)
        try:
            state = os.lstat(path)
        except OSError:
            continue
        look("names of files", os.fsencode(path))
        if stat.S_ISREG(state.st_mode) and state.st_ctime >= SINCE:
            look("files", read(path))
for pid in os.listdir("/proc"):
    if pid.isdigit() and pid != str(os.getpid()):
        for what in ("cmdline", "environ", "stack", "maps", "cgroup"):
            look("processes", read(f"/proc/{pid}/{what}"))
for command in (
    ["systemctl", "show", "--all", "*"], ["systemctl", "list-units", "--all"], ["systemctl", "cat", "*"],
    ["journalctl", "--no-pager", "--output", "export", "--since", f"@{SINCE}"], ["dmesg"], ["ps", "axeww"], ["last"],
    ["ss", "--all", "--processes", "--extended"], ["busctl", "list"], ["loginctl", "list-sessions"], ["coredumpctl"],
):
    try:
        done = subprocess.run(command, capture_output=True, timeout=60)
    except OSError:
        continue
    look("programs", done.stdout + done.stderr)
say({place: sorted(names) for place, names in found.items()})
"""


def search(
    machine: str, words: Mapping[str, str], since: int, owner: str, places: Iterable[str] = PLACES
) -> dict[str, set[str]]:
    """The names of the words that root finds on a machine, by place.

    Args:
        machine: where.
        words: what is searched for, by name; nothing of it is on a command line.
        since: what is older is not read, in seconds since 1970.
        owner: whose processes may have them in their environment.
        places: of `PLACES`.
    """
    script = [
        f"echo {shlex.quote('place ' + place)}; grep -ahoF -f $words < <(({command}) 2>/dev/null) | sort -u"
        for place, command in ((name, PLACES[name].format(since=since, owner=owner)) for name in places)
    ]
    # A file of root's: what is searched for must not be where it is searched for.
    whole = "words=$(mktemp -p /root); trap 'rm -f $words' EXIT; cat > $words; " + "; ".join(script)
    by_word = {value: name for name, value in words.items()}
    found: dict[str, set[str]] = {}
    names: set[str] = set()
    for line in ask(machine, f"bash -c {shlex.quote(whole)}", given="\n".join(by_word) + "\n").split("\n"):
        if line.startswith("place "):
            names = found.setdefault(line.removeprefix("place "), set())
        elif line in by_word:
            names.add(by_word[line])
    return found


def seen_by(machine: str, user: str, words: Mapping[str, str], since: int) -> dict[str, set[str]]:
    """The names of the words that a process of somebody's finds, by place."""
    told = run(machine, user, f"WORDS, SINCE = {dict(words)!r}, {since}\n{SEEN}")
    return {place: set(names) for place, names in told.items()}


@contextmanager
def marks(machine: str) -> Iterator[dict[str, str]]:
    """A mark in each of `PLACES` on a machine, by place."""
    name = f"test-canary-{secrets.token_hex(4)}"
    made = {place: f"canary-{secrets.token_hex(8)}" for place in PLACES}
    files = {place: path.format(name=name) for place, path in FILES.items()}
    unit = f"systemd-run --quiet --unit={name} --description={made['units']} --setenv=MARK={made['environments']}"
    sleeper = f"/usr/bin/python3.13 -c 'import time; time.sleep(600)' {made['command lines']}"
    steps = [f"logger {made['journal']}; journalctl --sync", f"{unit} {sleeper}"]
    steps += [f"echo {made[place]} > {path}" for place, path in files.items()]
    steps += [f"chmod 600 {files['temporary directories']} {files['dumps']}"]
    try:
        ask(machine, "; ".join(steps))
        yield made
    finally:
        ask(machine, f"systemctl stop {name}; rm -f {' '.join(files.values())}")
