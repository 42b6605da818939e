"""Certificates as others are shown them: whether they are taken, for how long, and else the way out."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from appliance.hub_front import Front

# A certificate that holds for fewer days is told of.
LEAST_DAYS = 30


class CertificateError(OSError):
    """A certificate that is not taken, or that ends soon."""


def days_left(front: Front) -> float:
    """Return for how many days a certificate holds.

    Raises CertificateError where it is not taken or ends soon, and OSError where nobody answers.
    """
    try:
        days = front.days_left()
    except ssl.SSLCertVerificationError as error:
        raise CertificateError(f"it is refused ({error.verify_message})") from error
    if days < LEAST_DAYS:
        raise CertificateError(f"it ends in {days:.0f} days")
    return days


def hub(front: Front) -> str:
    """Return how long the hub's certificate holds, as a report has it. Raises as `days_left`."""
    try:
        return f"ok, {days_left(front):.0f} days"
    except CertificateError as error:
        way_out = (
            "run site.yml, which makes what is of the facility's authority anew, or give a new own_certificate_pem"
        )
        raise CertificateError(f"{error}: {way_out}") from error


def between_machines(listeners: Mapping[str, str], authority: str) -> str:
    """Ask each listener for its certificate, as other machines do, and return how long all hold.

    Args:
        listeners: their addresses, by their URLs.
        authority: the facility's, PEM.

    Raises OSError that names all that are not right, or do not answer.
    """
    days: list[float] = []
    unfit: list[str] = []
    silent: list[str] = []
    for url, address in listeners.items():
        try:
            days.append(days_left(Front(url, address, authority, subdomains=False)))
        except CertificateError as error:
            unfit.append(f"{url}: {error}")
        except OSError as error:
            silent.append(f"{url} at {address}: {error}")
    # The way out comes first: a report cuts what is long.
    if unfit:
        way_out = "run site.yml, which makes certificates anew and restarts what shows an older one"
        unfit[0] = f"{way_out}: {unfit[0]}"
    if silent:
        silent[0] = f"see whether these run, and what their journals say: {silent[0]}"
    if unfit or silent:
        raise OSError("; ".join([*unfit, *silent]))
    return f"ok, {len(days)} for {min(days):.0f} days"
