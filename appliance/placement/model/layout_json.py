"""Layouts as JSON: what the service sends and clients read.

As with maps, a document from the network is believed only as far as it agrees with itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from appliance.placement.errors import MapError
from appliance.placement.model.object_layout import Layout, Piece, Rule

_PIECE = {"offset": int, "bytes": int, "pool": int, "name": str, "locator": str, "within": int}
_RULE = {"part": int, "start": int, "part_bytes": int, "stripe_bytes": int, "prefix": str}
_LAYOUT = {
    "etag": str,
    "bytes": int,
    "head": dict,
    "head_bytes": int,
    "max_head_bytes": int,
    "prefix": str,
    "marker": str,
    "version": str,
    "pool": int,
    "rules": list,
    "explicit": list,
}


def encode_layout(layout: Layout) -> dict[str, object]:
    """Return the document for a layout, as ``json.dumps`` takes it."""
    document = asdict(layout)
    del document["_starts"]
    return document


def decode_layout(document: object) -> Layout:
    """Return the layout that a document describes; ``MapError`` says where the document is wrong."""
    fields = _fields(document, _LAYOUT, "the layout")
    head = _piece(fields.pop("head"), "head")
    rules = tuple(Rule(**_fields(entry, _RULE, f"rules[{at}]")) for at, entry in enumerate(fields.pop("rules")))
    explicit = tuple(_piece(entry, f"explicit[{at}]") for at, entry in enumerate(fields.pop("explicit")))
    return Layout(head=head, rules=rules, explicit=explicit, **fields)


def _piece(document: object, place: str) -> Piece:
    return Piece(**_fields(document, _PIECE, place))


def _fields(document: object, kinds: Mapping[str, type], place: str) -> dict[str, Any]:
    if not isinstance(document, dict) or document.keys() != kinds.keys():
        raise MapError(f"{place} is {str(document)[:60]!r}, not an object with {', '.join(kinds)}")
    for name, kind in kinds.items():
        # type(), not isinstance: to JSON, true is no number.
        if type(document[name]) is not kind:
            raise MapError(f"{place}.{name} is {str(document[name])[:60]!r}, not of type {kind.__name__}")
        if kind is int and not 0 <= document[name] < 2**63:
            raise MapError(f"{place}.{name} is {document[name]}, not a size or number")
    return dict(document)
