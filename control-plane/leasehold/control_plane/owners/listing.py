"""One page of an owner's listing: what its items are, and where the next page is. Pure.

A page that cannot be understood as a whole is a problem, not a shorter page: from what is not listed something follows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

import jmespath

from leasehold.control_plane.core.inventory import Listed
from leasehold.control_plane.owners.lookup import UNSEARCHABLE
from leasehold.control_plane.owners.outcome import Fetched
from leasehold.protocol.lookups import Inventory, Provenance
from leasehold.protocol.names import CallId, ResourceId

_NEXT = re.compile(r"<([^<>]*)>\s*(?:;[^,]*)?;\s*rel=\"?next\"?(?=\s*(?:[;,]|$))", re.IGNORECASE)


class BadPage(Exception):
    """It cannot be understood; ``str()`` says what was expected."""


@dataclass(frozen=True, slots=True)
class Page:
    """``following``: the next page's target; ``None``: this was the last."""

    items: tuple[Listed, ...]
    following: str | None


def page_of(inventory: Inventory, endpoint: str, target: str, answer: Fetched) -> Page:
    """Raises ``BadPage``."""
    if not 200 <= answer.status < 300:
        raise BadPage(f"status {answer.status}")
    if not answer.whole:
        raise BadPage("the page is too long: expected a smaller page size")
    try:
        document = json.loads(answer.body)
    except ValueError as error:
        raise BadPage(f"expected JSON: {error}") from error
    items = _search(inventory.items, document)
    if not isinstance(items, list):
        raise BadPage(f"expected a list at {inventory.items!r}")
    return Page(tuple(_listed(inventory, items)), _following(inventory, endpoint, target, answer, document))


def _listed(inventory: Inventory, items: list[object]) -> Iterator[Listed]:
    for item in items:
        name = _text(_search(inventory.id, item))
        if not name:
            raise BadPage(f"expected an id at {inventory.id!r} of every item")
        incarnation = ""
        if inventory.incarnation is not None:
            uid = _text(_search(inventory.incarnation, item))
            if not uid:
                raise BadPage(f"expected an incarnation at {inventory.incarnation!r} of every item")
            incarnation = f"uid:{uid}"
        ours, call = _proof(inventory.provenance, item)
        yield Listed(ResourceId(name), ours, call, incarnation)


def _proof(provenance: Provenance | None, item: object) -> tuple[bool, CallId]:
    """Whether a label says that it is ours; or, by key, which call's it says to be."""
    shown = _text(_search(provenance.json, item)) if provenance is not None else ""
    if provenance is None or not shown:
        return False, CallId("")
    if provenance.equals is not None:
        return shown == provenance.equals, CallId("")
    return False, CallId(shown)


def _following(inventory: Inventory, endpoint: str, target: str, answer: Fetched, document: object) -> str | None:
    following = inventory.next
    if following is None:
        return None
    if following.link:
        found = _NEXT.search(answer.headers.get("Link", ""))
        return None if found is None else _target(endpoint, target, found[1])
    value = _search(following.cursor or "", document)
    if value is None or value is False or value == "":
        return None
    cursor = _text(value)
    if not cursor:
        raise BadPage(f"expected text at {following.cursor!r}")
    return f"{inventory.path}{'&' if '?' in inventory.path else '?'}{following.parameter}={quote(cursor, safe='')}"


def _target(endpoint: str, target: str, link: str) -> str:
    """A link as a target on the configured origin, and below its prefix."""
    origin = endpoint.rstrip("/")
    try:
        url = urljoin(origin + target, link)
        here, there = urlsplit(origin), urlsplit(url)
    except ValueError as error:
        raise BadPage(f"the next page is nowhere: {link!r}: {error}") from error
    path = there.path.removeprefix(here.path)
    if (here.scheme, here.netloc) != (there.scheme, there.netloc) or not there.path.startswith(here.path + "/"):
        raise BadPage(f"the next page is elsewhere: expected one below {origin}, got {url!r}")
    return path + (f"?{there.query}" if there.query else "")


def _search(expression: str, document: object) -> object:
    try:
        return jmespath.search(expression, document)
    except UNSEARCHABLE as error:
        raise BadPage(f"{expression!r}: {error}") from error


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
