"""A researcher in headless Chromium: logs in to the hub, starts a server, opens a notebook and runs it."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from playwright.sync_api import Browser, Page, Response, sync_playwright
from playwright.sync_api import TimeoutError as BrowserTimeout

from appliance.hub_front import Front

# Debian's chromium as root, with nothing that asks the internet (there is none).
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
)
VIEWPORT = {"width": 1400, "height": 900}

_PROMPTS = """
() => [...document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell .jp-InputPrompt')]
    .map(prompt => prompt.textContent.trim())
"""


# As a page's own scripts ask: with the cookies, and with the token that tells the server that the page is its own.
_FETCH = """
async address => {
    const token = (document.cookie.match(/\\b_xsrf=([^;]*)/) || ["", ""])[1]
    try {
        const answer = await fetch(address, {headers: {"X-XSRFToken": token}, redirect: "manual"})
        return [answer.status, await answer.text()]
    } catch (error) {
        return [0, error.name]
    }
}
"""


class BrowserError(RuntimeError):
    """What the researcher wanted did not happen; the message says what the page showed instead."""


@dataclass(frozen=True)
class Spawn:
    """How long a server took from the request: to JupyterLab's first answer, and to its face in the browser, in s."""

    seconds: float
    lab_seconds: float


@contextmanager
def chromium(front: Front) -> Iterator[Browser]:
    """Run Chromium with a new profile in which ``front`` is known: where its names lead, and its authority.

    Raises `BrowserError` where Chromium, or what tells it of an authority, is not installed.
    """
    program, certutil = shutil.which("chromium"), shutil.which("certutil")
    if program is None or certutil is None:
        raise BrowserError("chromium, certutil: not found on this machine. `make setup` installs them.")
    with tempfile.TemporaryDirectory(prefix="browser-") as home, sync_playwright() as playwright:
        _trust(certutil, Path(home), front.authority)
        browser = playwright.chromium.launch(
            executable_path=program,
            args=[*CHROMIUM_FLAGS, f"--host-resolver-rules={resolver_rules(front)}"],
            env={**os.environ, "HOME": home},
        )
        try:
            yield browser
        finally:
            browser.close()


def resolver_rules(front: Front) -> str:
    """Return what tells Chromium where the hub's name leads, and all names below it."""
    name = urlsplit(front.url).hostname
    return f"MAP {name} {front.address}, MAP *.{name} {front.address}"


def _trust(certutil: str, home: Path, authority: str) -> None:
    """Let browsers with this home trust an authority's certificates, as a person does in the settings."""
    database = home / ".pki/nssdb"
    database.mkdir(parents=True)
    for words in (["-N", "--empty-password"], ["-A", "-n", "facility", "-t", "C,,"]):
        command = [certutil, "-d", f"sql:{database}", *words]
        subprocess.run(command, input=authority, check=True, capture_output=True, text=True)


class Researcher:
    """One researcher at one browser window of their own."""

    def __init__(self, browser: Browser, front: Front, user: str) -> None:
        """``front`` is what the browser was started with."""
        self.hub, self.own = front.url, front.of(user)
        self.user = user
        self.context = browser.new_context(viewport=VIEWPORT)  # type: ignore[arg-type]
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(30_000)

    def log_in(self, password: str, picture: Path | None = None) -> None:
        """Log in by the hub's page; raises `BrowserError` with the page's words where that is refused."""
        self.page.goto(f"{self.hub}/hub/login?next=%2Fhub%2Fhome")
        self.page.fill("#username_input", self.user)
        self.page.fill("#password_input", password)
        if picture:
            self.page.screenshot(path=picture)
        self.page.click("#login_submit")
        self.page.wait_for_load_state()
        refusal = self.page.locator(".login_error")
        if refusal.count():
            raise BrowserError(f"{self.user}: not logged in: {refusal.first.inner_text().strip()}")
        try:
            self.page.wait_for_selector("#start")
        except BrowserTimeout as error:
            raise BrowserError(f"{self.user}: not logged in. {self._words()}") from error

    def stop_server(self) -> None:
        """Stop the researcher's server if one runs."""
        self.page.goto(f"{self.hub}/hub/home")
        self.page.wait_for_selector("#start")
        stop = self.page.locator("#stop")
        if stop.count() and stop.is_visible():
            stop.click()
            stop.wait_for(state="hidden", timeout=60_000)

    def start_server(self, timeout: float = 180.0) -> Spawn:
        """Start a server that does not run yet and wait until JupyterLab shows itself."""
        self.page.goto(f"{self.hub}/hub/home")
        answers: list[float] = []

        def note(response: Response) -> None:
            if urlsplit(response.url).path == f"/user/{self.user}/lab" and response.ok:
                answers.append(time.monotonic())

        self.page.on("response", note)
        start = time.monotonic()
        self.page.click("#start")
        try:
            self.page.wait_for_url(f"**/user/{self.user}/lab**", timeout=timeout * 1000)
            self.page.wait_for_selector("#jp-main-dock-panel", timeout=timeout * 1000)
        except BrowserTimeout as error:
            raise BrowserError(f"{self.user}: no JupyterLab after {timeout:.0f} s. {self._words()}") from error
        finally:
            self.page.remove_listener("response", note)
        lab = time.monotonic() - start
        return Spawn(seconds=answers[0] - start if answers else lab, lab_seconds=lab)

    def open_notebook(self, path: str) -> None:
        """Open ``path`` (from the home) in JupyterLab and wait until its kernel is ready."""
        self.page.goto(f"{self.own}/user/{self.user}/lab/tree/{quote(path)}?reset")
        try:
            self.page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=60_000)
            # The status bar is the one place that tells a kernel that idles from a kernel that is yet to come.
            self.page.locator("#jp-main-statusbar", has_text=re.compile(r"\| Idle")).wait_for(timeout=60_000)
        except BrowserTimeout as error:
            raise BrowserError(f"{path}: did not open with a ready kernel. {self._words()}") from error

    def run_all(
        self, path: str, timeout: float, progress: Callable[[int, int], None] = lambda _done, _all: None
    ) -> dict[str, Any]:
        """Run all cells of the open notebook, which is ``path``, save it, and return it as saved.

        ``progress`` is told how many code cells are done, of how many. Raises `BrowserError` where a cell fails (with
        its error) or where the end does not come within ``timeout`` seconds.
        """
        self._choose("Edit", "editmenu:clear-all")
        self._choose("Run", "runmenu:run-all")
        deadline = time.monotonic() + timeout
        while True:
            prompts: list[str] = self.page.evaluate(_PROMPTS)
            done = sum(bool(re.fullmatch(r"\[\d+\]:", prompt)) for prompt in prompts)
            progress(done, len(prompts))
            # Cells that wait show a star. A failed cell ends the run: those behind it show nothing any more.
            if done and "[*]:" not in prompts:
                break
            if time.monotonic() > deadline:
                raise BrowserError(f"{path}: {done} of {len(prompts)} cells were done after {timeout:.0f} s")
            self.page.wait_for_timeout(500)
        self.save()
        notebook: dict[str, Any] = self.read(path)["content"]
        failures = [
            output
            for cell in notebook["cells"]
            for output in cell.get("outputs", [])
            if output["output_type"] == "error"
        ]
        if failures:
            trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(failures[0]["traceback"]))
            raise BrowserError(f"{path}: a cell failed:\n{trace[-4000:]}")
        if done < len(prompts):
            raise BrowserError(
                f"{path}: {done} of {len(prompts)} cells ran, and no error is shown; did the kernel end?"
            )
        return notebook

    def save(self) -> None:
        """Save the open notebook, as File → Save does."""
        with self.page.expect_response(
            lambda answer: "/api/contents/" in answer.url and answer.request.method == "PUT"
        ):
            self._choose("File", "docmanager:save")

    def read(self, path: str) -> dict[str, Any]:
        """Return Jupyter's model of a saved file (notebooks parsed) as the server has it."""
        status, text = self.fetch(f"/user/{self.user}/api/contents/{quote(path)}?content=1")
        if status != 200:
            raise BrowserError(f"{path}: the notebook server answered {status}: {text[:300]}")
        model: dict[str, Any] = json.loads(text)
        return model

    def fetch(self, address: str) -> tuple[int, str]:
        """Return the status and the text that the window's page gets from an address; 0 where it may not ask."""
        status, text = self.page.evaluate(_FETCH, address)
        return int(status), str(text)

    def picture(self, target: Path, whole_notebook: bool = False) -> None:
        """Take a picture of the window; with ``whole_notebook``, of a window as tall as the open notebook."""
        if whole_notebook:
            panel = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-WindowedPanel-outer")
            height = panel.evaluate("panel => panel.scrollHeight")
            self.page.set_viewport_size({"width": VIEWPORT["width"], "height": min(int(height) + 160, 16_000)})
            panel.evaluate("panel => panel.scrollTo(0, 0)")
            self.page.wait_for_timeout(1500)
        self.page.screenshot(path=target)
        if whole_notebook:
            self.page.set_viewport_size(VIEWPORT)  # type: ignore[arg-type]

    def close(self) -> None:
        """Close the window and forget its log-in; the researcher's server runs on."""
        self.context.close()

    def _choose(self, menu: str, command: str) -> None:
        """Choose an entry of JupyterLab's menu bar."""
        self.page.click(f".lm-MenuBar-itemLabel:text-is('{menu}')")
        self.page.click(f".lm-Menu-item[data-command='{command}']")

    def _words(self) -> str:
        """What the page says, for a message."""
        words = " ".join(self.page.locator("body").inner_text().split())
        return f"The page at {self.page.url} says: {words[:600]}"


def figures(notebook: dict[str, Any], directory: Path) -> list[Path]:
    """Write the pictures among a notebook's outputs to ``directory`` as figure-1.png, …; return their paths."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    images = [image for output in outputs if (image := output.get("data", {}).get("image/png"))]
    paths = [directory / f"figure-{number}.png" for number, _ in enumerate(images, start=1)]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(base64.b64decode(image if isinstance(image, str) else "".join(image)))
    return paths
