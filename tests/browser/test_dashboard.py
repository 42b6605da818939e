"""A dashboard in the browser: its owner sees it live, its scripts reach nothing of the hub's, others see nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from researcher import Notebook, prepared_notebook

from appliance.demo.browser import Researcher
from appliance.demo.facility import Facility

Window = Callable[[str], Researcher]

SETUP = """
    import time
    from dask_gateway import Gateway
    gateway = Gateway()
    cluster = gateway.new_cluster(worker_memory=1.0)
    cluster.scale(1)
    client = cluster.get_client()
    client.wait_for_workers(1, timeout=120)
    say()
"""
END = "client.close(); cluster.shutdown(); say()"

# Rows of the task stream that the page's own copy of the plot's data holds.
TASKS = """
() => window.Bokeh ? Math.max(0, ...Bokeh.documents.flatMap(each => [...each._all_models.values()])
    .filter(model => model.type === "ColumnDataSource" && model.data.start && model.data.duration)
    .map(model => model.data.start.length)) : 0
"""

# As JupyterLab asks: with the token that its page reads from a cookie.
XSRF = r"""
    const xsrf = () => {
        try { return {"X-XSRFToken": (document.cookie.match(/\b_xsrf=([^;]*)/) || ["", ""])[1]} } catch { return {} }
    }
"""
# What a page tries: each is "reached", with what came, or the kind of error.
ATTEMPTS = """
async () => {
    XSRF
    const attempt = async function_ => {
        try { return "reached: " + await function_() } catch (error) { return error.name }
    }
    const ask = (path, options) => attempt(async () => {
        const answer = await fetch(path, {credentials: "include", headers: xsrf(), ...options})
        if (!answer.ok) throw {name: String(answer.status)}
        return (await answer.text()).length
    })
    return {
        origin: self.origin,
        cookies: await attempt(() => document.cookie.length),
        storage: await attempt(() => localStorage.length),
        "the hub's API": await ask("/hub/api/user"),
        "the server's API": await ask("/user/alice/api/kernels"),
        "a terminal of the server's": await ask("/user/alice/api/terminals", {method: "POST"}),
        "a page of the server's": await ask("/user/alice/lab"),
        "JupyterLab around it": await attempt(() => {
            if (parent === self) throw {name: "SecurityError"}
            return parent.document.title
        }),
    }
}
""".replace("XSRF", XSRF, 1)
PLOTS = """
async address => {
    XSRF
    return (await fetch(address, {headers: xsrf()})).json()
}
""".replace("XSRF", XSRF, 1)


@pytest.fixture(scope="module")
def notebook(facility: Facility) -> Iterator[Notebook]:
    """Alice's, with a cluster of one worker."""
    with prepared_notebook(facility, "alice", SETUP, END) as made:
        yield made


@pytest.fixture(scope="module")
def link(notebook: Notebook) -> str:
    """The dashboard's, as Dask shows it."""
    return str(notebook.run("say(link=cluster.dashboard_link)")["link"])


@pytest.fixture(scope="module")
def alice(facility: Facility, browser: Browser) -> Iterator[Researcher]:
    made = with_server(Researcher(browser, facility.front, "alice"), facility)
    yield made
    made.stop_server()
    made.close()


def with_server(researcher: Researcher, facility: Facility) -> Researcher:
    researcher.log_in(facility.password(researcher.user))
    researcher.stop_server()
    researcher.start_server()
    return researcher


def framed(page: Page, address: str) -> Any:
    """Show an address in a frame of the page, as JupyterLab's Dask panel does; return the frame."""
    page.evaluate(
        """address => {
            const frame = document.createElement("iframe")
            frame.src = address
            frame.id = "test-frame"
            document.body.appendChild(frame)
        }""",
        address,
    )
    handle = page.wait_for_selector("#test-frame", state="attached")
    assert handle is not None
    frame = handle.content_frame()
    assert frame is not None
    frame.wait_for_url(f"**{address.rpartition('/')[2]}")
    return frame


def test_the_owner_sees_the_task_stream_live(alice: Researcher, notebook: Notebook, link: str) -> None:
    page = alice.page
    answer = page.goto(f"{alice.own}{link}")
    assert answer is not None
    assert answer.status == 200
    notebook.run("client.gather(client.map(lambda x: time.sleep(0.05) or x, range(40), pure=False)); say()")
    page.wait_for_function(f"() => ({TASKS})() >= 20")
    before = page.evaluate(TASKS)
    notebook.run("client.gather(client.map(lambda x: time.sleep(0.05) or x, range(40), pure=False)); say()")
    page.wait_for_function(f"before => ({TASKS})() > before", arg=before)
    # By the menu, too, which leads on from a page without an origin.
    page.click("text=Workers >> nth=0")
    page.wait_for_url("**/workers")
    page.wait_for_function("() => window.Bokeh && Bokeh.documents.length > 0")


def test_the_owner_sees_the_page_of_reads(alice: Researcher, link: str) -> None:
    answer = alice.page.goto(f"{alice.own}{link.replace('/status', '/appliance-reads')}")
    assert answer is not None
    assert answer.status == 200
    alice.page.wait_for_function("() => window.Bokeh && Bokeh.documents.length > 0")
    assert alice.page.title() == "Dask: Reads"
    alice.page.locator(".bk-Figure").first.wait_for()


def test_jupyterlabs_panel_finds_the_plots_and_shows_them_in_frames(alice: Researcher, link: str) -> None:
    alice.page.goto(f"{alice.own}/user/alice/lab")
    alice.page.wait_for_selector("#jp-main-dock-panel")
    plots = alice.page.evaluate(PLOTS, link.replace("/status", "/individual-plots.json"))
    assert plots["Individual Appliance Reads"] == "/individual-appliance-reads"
    frame = framed(alice.page, link.replace("/status", "/individual-task-stream"))
    frame.wait_for_function("() => window.Bokeh && Bokeh.documents.length > 0")


def test_scripts_of_a_page_reach_nothing_of_the_hubs(alice: Researcher, notebook: Notebook, link: str) -> None:
    """The page is the scheduler's; the control is the same script in JupyterLab."""
    notebook.run("""
        def add(dask_scheduler):
            from tornado import web

            class Added(web.RequestHandler):
                def get(self):
                    self.write("<!DOCTYPE html><title>added</title>")
            dask_scheduler.http_application.add_handlers(".*", [("/added", Added)])
        client.run_on_scheduler(add)
        say()
    """)
    added = link.replace("/status", "/added")
    page = alice.page
    page.goto(f"{alice.own}{added}")
    assert page.title() == "added"
    alone = page.evaluate(ATTEMPTS)
    page.goto(f"{alice.own}/user/alice/lab")
    page.wait_for_selector("#jp-main-dock-panel")
    control = page.evaluate(ATTEMPTS)
    inside = framed(page, added).evaluate(ATTEMPTS)
    for found in (alone, inside):
        assert found["origin"] == "null"
        assert [name for name, told in found.items() if str(told).startswith("reached")] == [], json.dumps(found)
        assert found["cookies"] == found["storage"] == "SecurityError"
        assert found["JupyterLab around it"] == "SecurityError" or found is alone
    assert control["origin"] == alice.own
    for name in ("cookies", "storage", "the server's API", "a page of the server's"):
        assert control[name].startswith("reached"), json.dumps(control)


def test_another_researchers_browser_sees_nothing(facility: Facility, window: Window, link: str) -> None:
    bob = with_server(window("bob"), facility)
    for address in (link, link.replace("/status", "/appliance-reads")):
        answer = bob.page.goto(f"{facility.front.of('alice')}{address}")
        assert answer is not None
        assert answer.status == 403
        assert "Bokeh" not in bob.page.content()
    answer = bob.page.goto(f"{bob.own}{link.replace('/user/alice/', '/user/bob/')}")
    assert answer is not None
    assert answer.status == 404
    assert "Bokeh" not in bob.page.content()
    bob.stop_server()


def test_a_link_that_is_shown_to_another_opens_nothing(
    alice: Researcher, facility: Facility, window: Window, link: str
) -> None:
    alice.page.goto(f"{alice.own}{link}")
    alice.page.wait_for_function("() => window.Bokeh && Bokeh.documents.length > 0")
    with_key = alice.page.url
    assert "/~" in with_key
    stranger, bob = window("stranger"), window("bob")
    bob.log_in(facility.password("bob"))
    for other in (stranger, bob):
        answer = other.page.goto(with_key)
        assert answer is not None
        assert answer.status == 403
        assert "Bokeh" not in other.page.content()
