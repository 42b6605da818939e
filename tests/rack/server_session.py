"""A researcher at the hub whose server runs."""

from __future__ import annotations

from hub_session import HubSession

from appliance.demo.facility import Facility


def with_server(facility: Facility, user: str) -> HubSession:
    """Log a researcher in, and start their server unless it runs."""
    session = HubSession(facility.front, user)
    session.log_in(facility.password(user))
    if not session.server():
        session.start()
    session.ask(f"/user/{user}/lab")
    return session
