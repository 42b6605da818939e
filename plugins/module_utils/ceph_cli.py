"""Ask a Ceph cluster, from an Ansible module on a machine that holds the admin key."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ADMIN_KEYRING = "/etc/ceph/ceph.client.admin.keyring"
BOOTSTRAP_KEYRING = "/var/lib/ceph/bootstrap-osd/ceph.keyring"
Run = Callable[..., tuple[int, str, str]]
Command = Mapping[str, Any]

# Ceph's bindings are compiled for the machine's own python3, which need not be the one that runs modules. One process
# asks any number of questions: the `ceph` command would start, find the monitors and sign in anew for each.
INTERPRETER = "/usr/bin/python3"
ASK = """
import json, sys, rados
wait, name, keyring, commands = json.load(sys.stdin)
cluster = rados.Rados(conffile="/etc/ceph/ceph.conf", name=name, conf={"keyring": keyring})
cluster.connect(timeout=wait)
answers = []
for command in commands:
    answers.append(cluster.mon_command(json.dumps(command), b"", timeout=wait))
    if answers[-1][0]:
        break
cluster.shutdown()
json.dump([[status, out.decode(), said] for status, out, said in answers], sys.stdout)
"""


class CephError(Exception):
    """A command of the cluster failed; the message holds the command's name and what the cluster said."""


class Cluster:
    """The cluster as its monitors and `radosgw-admin` show it.

    ``run`` is ``AnsibleModule.run_command``: an argument list and the text for standard input, which gives the
    exit status, the output and the error output. ``wait`` is how many seconds the monitors may take to answer:
    monitors that have just started elect first. ``entity`` asks, with the key in the file ``keyring``.
    """

    def __init__(self, run: Run, wait: int = 60, entity: str = "client.admin", keyring: str = ADMIN_KEYRING) -> None:
        self._run = run
        self._wait = wait
        self._entity = entity
        self._keyring = keyring

    def ask(self, prefix: str, **arguments: Any) -> Any:
        """Give the monitors one command and return its answer from JSON; raises CephError."""
        return json.loads(self.tell([{"prefix": prefix, "format": "json", **arguments}])[0])

    def tell(self, commands: Sequence[Command]) -> list[str]:
        """Give the monitors commands, one after the other, and return what each printed.

        Raises CephError for the first that fails; those after it are not given.
        """
        if not commands:
            return []
        question = json.dumps([self._wait, self._entity, self._keyring, list(commands)])
        status, out, err = self._run([INTERPRETER, "-c", ASK], data=question)
        if status != 0:
            last = (err.strip().splitlines() or ["(nothing)"])[-1]
            raise CephError(f"the monitors could not be asked within {self._wait} s: {last}")
        answers = json.loads(out)
        failed, _, said = answers[-1]
        if failed:
            command = commands[len(answers) - 1]
            words = " ".join(str(value) for name, value in command.items() if name not in ("caps", "format"))
            raise CephError(f"`ceph {words}` ended with {failed}: {said}")
        return [text for _, text, _ in answers]

    def rgw(self, *arguments: str) -> Any:
        """Run `radosgw-admin ARGUMENTS` and give its answer from JSON, None where it says nothing; raises CephError."""
        status, out, err = self._run(["radosgw-admin", *arguments])
        if status != 0:
            raise CephError(f"`radosgw-admin {' '.join(arguments)}` ended with {status}: {err.strip()}")
        return json.loads(out) if out.strip() else None


def bootstrap_cluster(run: Run) -> Cluster:
    """The cluster as machines with OSDs may ask it, without the admin key: they list OSDs, and purge new ones."""
    return Cluster(run, entity="client.bootstrap-osd", keyring=BOOTSTRAP_KEYRING)


def admin_entry(key: str) -> str:
    """The admin's entry in a keyring from which monitors learn it: the key, and the right to everything."""
    caps = "".join(f'\tcaps {service} = "allow *"\n' for service in ("mds", "mgr", "mon", "osd"))
    return f"[client.admin]\n\tkey = {key}\n{caps}"


def flat_caps(caps: Mapping[str, str]) -> list[str]:
    """Capabilities as the monitors want them: each service, in order of name, and then what it may do."""
    return [word for service in sorted(caps) for word in (service, caps[service])]
