"""How an owner is asked what became of a call (``lookup``), and what it stores at all (``inventory``). Pure.

Both are questions by HTTP GET. Nothing is concluded from what an answer does not say: "not there" has to be said, by a
status or by an expression that is true, and what is found counts as ours only by a key or label that we can check.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

import jmespath
import jmespath.exceptions
import msgspec

from leasehold.protocol.configuration import Seconds

MODES: Final = ("observe", "condemn", "sweep")
_VARIABLE: Final = re.compile(r"\{(key|id)\}")


class _Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Shown(_Model, frozen=True):
    """Where an answer shows a text: exactly one of a JMESPath expression over the body, and a header."""

    json: str | None = None
    header: str | None = None


class Lookup(_Model, frozen=True):
    """How the owner is asked what became of one call.

    ``path`` (a query is allowed) holds either ``{key}``, the idempotency key that the owner was told, or ``{id}``, for
    calls that name what they create. By key, ``id`` says where the answer tells the id. By id, ``key`` says where it
    shows the key: an id alone may have been there before.

    ``missing``: an expression over a 2xx answer that is ``true`` when there is nothing. Without it 404 and 410 say so.
    ``after``: how long a call may still be under way at the owner once its holder has ended.
    """

    path: str
    id: Shown | None = None
    key: Shown | None = None
    incarnation: Shown | None = None
    missing: str | None = None
    after: Seconds = Seconds(60.0)

    @property
    def by_key(self) -> bool:
        return "{key}" in self.path

    def target(self, value: str) -> str:
        """The request's target. Raises ``ValueError`` for what cannot be one segment or value."""
        if value in {"", ".", ".."}:
            raise ValueError(f"{value!r} cannot be part of a path")
        return _VARIABLE.sub(lambda _: quote(value, safe=""), self.path)


class Provenance(_Model, frozen=True):
    """What of a listed item proves that it is ours: ``json`` (over the item) ``equals`` a label that only calls of this
    tenant carry; or, without ``equals``, it is the idempotency key of an intent that we know."""

    json: str
    equals: str | None = None


class Next(_Model, frozen=True):
    """Where the next page is: ``cursor`` (over the page) goes into the query as ``parameter``; or, with ``link``, the
    Link header tells it (``rel="next"``). No cursor, no link: that was the last."""

    cursor: str | None = None
    parameter: str = "cursor"
    link: bool = False


class Brake(_Model, frozen=True):
    """More than this part of what is ours, and more than this many, at once: nothing is concluded."""

    fraction: float = 0.15
    count: int = 10


class Inventory(_Model, frozen=True):
    """How the owner lists all it has of one type, and how far what nobody recorded may be taken.

    ``items`` (over a page) is a list; ``id`` and ``incarnation`` are read of each item. What is found to be ours and
    unknown is recorded under a rule of its own, with this ``mode`` and ``grace``.
    """

    path: str
    items: str
    id: str
    provenance: Provenance | None = None
    incarnation: str | None = None
    next: Next | None = None
    interval: Seconds = Seconds(3600.0)
    brake: Brake = Brake()
    mode: str = "observe"
    grace: Seconds = Seconds(3600.0)


def lookup_nonsense(lookup: Lookup) -> Iterator[tuple[str, str]]:
    """What is wrong with it, as place and problem."""
    yield from _target_nonsense("path", lookup.path)
    if len(_VARIABLE.findall(lookup.path)) != 1:
        yield "path", f"expected exactly one of {{key}} and {{id}}, once, got {lookup.path!r}"
    elif lookup.by_key and lookup.id is None:
        yield "id", "missing; an answer to {key} has to tell the id, e.g. id: {json: id}"
    elif not lookup.by_key and lookup.key is None:
        yield "key", "missing; what {id} finds may have been there before: expected where the answer shows the key"
    elif not lookup.by_key and lookup.id is not None:
        yield "id", "the id is what was asked by: expected none"
    for name in ("id", "key", "incarnation"):
        shown = getattr(lookup, name)
        if shown is not None and (shown.json is None) == (shown.header is None):
            yield name, "expected exactly one of json and header"
        if shown is not None and shown.json is not None:
            yield from _expression_nonsense(f"{name}.json", shown.json)
    if lookup.missing is not None:
        yield from _expression_nonsense("missing", lookup.missing)
    if lookup.after < 1:
        yield "after", f"expected at least 1s, got {lookup.after}"


def inventory_nonsense(inventory: Inventory) -> Iterator[tuple[str, str]]:
    """What is wrong with it, as place and problem."""
    yield from _target_nonsense("path", inventory.path)
    if "{" in inventory.path:
        yield "path", f"expected no variables, got {inventory.path!r}"
    for name in ("items", "id", "incarnation"):
        expression = getattr(inventory, name)
        if expression is not None:
            yield from _expression_nonsense(name, expression)
    yield from _provenance_nonsense(inventory.provenance)
    if inventory.next is not None:
        yield from _next_nonsense(inventory.next)
    if not 0 < inventory.brake.fraction < 1 or inventory.brake.count < 0:
        yield "brake", "expected a fraction between 0 and 1, and a count of 0 or more"
    if inventory.mode not in MODES:
        yield "mode", f"expected one of {', '.join(MODES)}, got {inventory.mode!r}"
    for name in ("interval", "grace"):
        if getattr(inventory, name) < 1:
            yield name, f"expected at least 1s, got {getattr(inventory, name)}"


def _provenance_nonsense(provenance: Provenance | None) -> Iterator[tuple[str, str]]:
    if provenance is None:
        return
    yield from _expression_nonsense("provenance.json", provenance.json)
    if provenance.equals == "":
        yield "provenance.equals", "an empty label proves nothing"


def _next_nonsense(following: Next) -> Iterator[tuple[str, str]]:
    if (following.cursor is None) == (not following.link):
        yield "next", "expected exactly one of cursor and link: true"
    if following.cursor is not None:
        yield from _expression_nonsense("next.cursor", following.cursor)
    if not re.fullmatch(r"[A-Za-z0-9._~$-]+", following.parameter):
        yield "next.parameter", f"expected the name of a query parameter, got {following.parameter!r}"


def _target_nonsense(where: str, text: str) -> Iterator[tuple[str, str]]:
    rest = _VARIABLE.sub("", text)
    if not re.fullmatch(r"/(?!/)[!$&'()*+,;=:@/?A-Za-z0-9._~%-]*", rest):
        yield where, f"expected an absolute path, perhaps with a query, in ASCII, got {text!r}"


def _expression_nonsense(where: str, text: str) -> Iterator[tuple[str, str]]:
    try:
        jmespath.compile(text)
    except (jmespath.exceptions.JMESPathError, RecursionError) as error:
        yield where, f"expected a JMESPath expression: {error}"
