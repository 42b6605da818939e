"""The page on which a web server lists a folder (Apache, nginx, Python's own): the names that its links lead to."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from appliance.data import DataError
from appliance.data.http_get import Body, answered
from appliance.http_sources import HttpSources

BYTES = 64 * 2**20  # of a page, at most


def names(url: str, sources: HttpSources) -> set[str] | None:
    """The names in a folder, folders without a slash; None where the server shows no list. Raises ``OSError``."""
    folder = f"{url.rstrip('/')}/"
    content = b""
    try:
        with answered(folder, sources) as answer:
            if answer.headers.get_content_type() != "text/html":
                return None
            for piece in Body(folder, answer):
                content += piece
                if len(content) > BYTES:
                    return None
    except DataError:  # none, refused, or only after a log-in
        return None
    page = _Page()
    page.feed(content.decode("utf-8", "replace"))
    page.close()
    start = urlsplit(folder)
    found = set()
    for link in page.links:
        try:
            parts = urlsplit(urljoin(folder, link))
        except ValueError:
            continue
        same = (parts.scheme, parts.netloc) == (start.scheme, start.netloc)
        inside = unquote(parts.path).removeprefix(unquote(start.path)).rstrip("/")
        if same and inside and "/" not in inside and unquote(parts.path).startswith(unquote(start.path)):
            found.add(inside)
    return found


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the addresses of links."""
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]
