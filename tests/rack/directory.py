"""A directory (slapd) on the head, with a certificate of an authority of its own, for as long as a block lasts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.hazmat.primitives.asymmetric import ec
from machines import HEAD, ask
from made_certificates import authority, key_pem, of_names

NAME, PORT = "directory.rack.test", 1636
PLACE, UNIT = "/var/lib/test-directory", "test-directory"
BASE = "dc=rack,dc=test"
USER_DN = f"uid={{username}},ou=people,{BASE}"
SETTINGS = f"""
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile {PLACE}/authority.pem
TLSCertificateFile {PLACE}/own.pem
TLSCertificateKeyFile {PLACE}/own.key
pidfile {PLACE}/slapd.pid
database mdb
suffix {BASE}
directory {PLACE}/data
maxsize 104857600
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
"""
PERSON = """
dn: uid={name},ou=people,{base}
objectClass: inetOrgPerson
uid: {name}
cn: {name}
sn: {name}
userPassword: {password}
"""


def entries(passwords: dict[str, str], groups: dict[str, list[str]]) -> str:
    """The directory's entries: people with their passwords, and groups with their members."""
    text = f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: rack\ndc: rack\n"
    for unit in ("people", "groups"):
        text += f"\ndn: ou={unit},{BASE}\nobjectClass: organizationalUnit\nou: {unit}\n"
    for name, password in passwords.items():
        text += PERSON.format(name=name, base=BASE, password=password)
    for group, members in groups.items():
        text += f"\ndn: cn={group},ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: {group}\n"
        text += "".join(f"member: uid={name},ou=people,{BASE}\n" for name in members)
    return text


def start() -> None:
    """Run it, and wait until it listens."""
    run = f"systemd-run --quiet --collect --unit={UNIT} --property=Type=forking"
    ask(HEAD, f"{run} /usr/sbin/slapd -f {PLACE}/slapd.conf -h ldaps://127.0.0.1:{PORT}")
    ask(HEAD, f"until ss -Hltn 'sport = :{PORT}' | grep -q .; do sleep 0.1; done")


def stop() -> None:
    """End it."""
    ask(HEAD, f"systemctl stop {UNIT}")


@contextmanager
def directory(passwords: dict[str, str], groups: dict[str, list[str]]) -> Iterator[str]:
    """Run a directory, and yield the certificate of its authority."""
    signer, key = authority("Authority of a directory"), ec.generate_private_key(ec.SECP256R1())
    files = {
        "authority.pem": signer.pem,
        "own.pem": of_names([NAME], signer, key),
        "own.key": key_pem(key),
        "slapd.conf": SETTINGS,
        "entries.ldif": entries(passwords, groups),
    }
    # Its own unit, of Debian's package, never starts.
    ask(HEAD, "systemctl mask --quiet slapd; DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet slapd")
    ask(HEAD, f"install -d -m 700 {PLACE} {PLACE}/data; echo '127.0.0.1 {NAME}' >> /etc/hosts")
    for name, text in files.items():
        ask(HEAD, f"umask 077; cat > {shlex.quote(f'{PLACE}/{name}')}", given=text)
    ask(HEAD, f"slapadd -f {PLACE}/slapd.conf -l {PLACE}/entries.ldif")
    start()
    try:
        yield signer.pem
    finally:
        ask(HEAD, f"systemctl stop {UNIT}; rm -rf {PLACE}; sed -i '/ {NAME}$/d' /etc/hosts")
        ask(HEAD, "apt-get purge --yes --quiet slapd; systemctl unmask --quiet slapd")
