"""An OpenID Connect provider on the rack's host, and a person who logs in there."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from machines import FACILITY, HEAD, RACK, ask
from made_certificates import authority, key_pem, of_names

from appliance.hub_front import Front

NAME, PORT = "login.rack.test", 1637
ISSUER = f"https://{NAME}:{PORT}"
CLIENT, SECRET = "facility", "a-secret-of-the-tests-only-0123456789"
CALLBACK = f"{FACILITY.front.url}/hub/oauth_callback"
SOURCE = Path(__file__).parent / "oidc_provider"


@dataclass
class Provider:
    """The provider, which can be stopped and started."""

    front: Front
    settings: dict[str, Any]
    folder: Path
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Run it, and wait until it listens."""
        words = ["node", "provider.js"]
        self.process = subprocess.Popen(
            words, cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(self.settings))
        self.process.stdin.close()
        assert self.process.stdout.readline() == "listening\n"

    def stop(self) -> None:
        """End it."""
        assert self.process
        assert self.process.stdout
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


@contextmanager
def provider(folder: Path, groups: dict[str, list[str]]) -> Iterator[Provider]:
    """Run a provider; the head finds it by its name."""
    signer, key = authority("Authority of a provider"), ec.generate_private_key(ec.SECP256R1())
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    settings = {
        **{"address": RACK.gateway, "port": PORT, "issuer": ISSUER, "client": CLIENT, "secret": SECRET},
        **{"certificate": of_names([NAME], signer, key), "key": key_pem(key), "callback": CALLBACK, "groups": groups},
        "told": {},
    }
    made = Provider(Front(ISSUER, RACK.gateway, signer.pem, subdomains=False), settings, folder)
    ask(HEAD, f"echo '{RACK.gateway} {NAME}' >> /etc/hosts")
    made.start()
    try:
        yield made
    finally:
        made.stop()
        ask(HEAD, f"sed -i '/ {NAME}$/d' /etc/hosts")


class _ByName(urllib.request.HTTPSHandler):
    """Asks the provider or the hub, as the name says."""

    def __init__(self, front: Front) -> None:
        super().__init__()
        self._provider = front

    def https_open(self, request: urllib.request.Request) -> Any:
        chosen = self._provider if urlsplit(request.full_url).hostname == NAME else FACILITY.front
        return self.do_open(lambda host, timeout=None: chosen.connection(host, timeout), request)  # type: ignore[arg-type]


class Person:
    """Somebody at a browser of their own."""

    def __init__(self, front: Front) -> None:
        self.jar = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _ByName(front), urllib.request.HTTPCookieProcessor(self.jar)
        )

    def open(self, url: str, **form: str) -> tuple[str, str]:
        """Open a page, or send a form to it, and return where that led and what is there."""
        data = urllib.parse.urlencode(form).encode() if form else None
        with self._opener.open(urllib.request.Request(url, data=data), timeout=60) as answer:  # noqa: S310
            return answer.url, answer.read().decode()

    def log_in(self, name: str) -> tuple[str, str]:
        """Log in at the provider, as the hub sends one there; raises `urllib.error.HTTPError` where it is refused."""
        page, _ = self.open(f"{FACILITY.front.url}/hub/oauth_login?next=%2Fhub%2Fhome")
        assert urlsplit(page).hostname == NAME
        page, _ = self.open(page, prompt="login", login=name, password="any")
        return self.open(page, prompt="consent")
