"""Fills a blank index: records and holds by the million, in one plain loop; everything else as any other news. Pure.

Laws:

- What comes out is what ``Index.apply`` makes of the same items. Only what it would do with nearly every record and
  hold of a tenant is done here, past its calls: a name in plain letters, a resource's first hold, a record that refers
  to nothing. Whatever is otherwise (or cannot be read) is left to it.
- Nothing is worked out: that is for the end, when everything is there.

The hot path of a cold start: two million keys, of which each costs a few microseconds and no object that is not kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from sys import intern

from leasehold.control_plane.core.facts import Entry, Hold, HolderEntry
from leasehold.protocol.keyspace import Family, Keyspace
from leasehold.protocol.names import ClassName, Holder, Resource
from leasehold.protocol.records import HoldRecord, ResourceRecord, Unreadable, decode
from leasehold.protocol.store import Change, Event, KeyValue

_NAME = "[A-Za-z0-9._~-]+"


class Filling:
    """Of one blank index: its ``entries`` and holders, and ``apply`` for what is not as nearly all are."""

    def __init__(
        self,
        keys: Keyspace,
        entries: dict[Resource, Entry],
        holder_of: Callable[[Holder], HolderEntry],
        apply: Callable[[Event], bool],
    ) -> None:
        self._keys, self._entries, self._holder_of, self._apply = keys, entries, holder_of, apply
        record, hold = keys.family(Family.RESOURCES), keys.family(Family.HOLDS)
        resource = f"({_NAME})/({_NAME})/({_NAME})"
        self._record = re.compile(re.escape(record.start.decode()) + resource).fullmatch
        self._hold = re.compile(f"{re.escape(hold.start.decode())}{resource}/([A-Za-z0-9._~%-]+)").fullmatch
        self._holders: dict[str, tuple[Holder, HolderEntry] | None] = {}
        """By how they are written in keys; ``None``: nobody, it is another spelling."""

    def take(self, items: Iterable[KeyValue]) -> None:
        """In any order; each key once."""
        for item in items:
            text = item.key.decode("latin-1")
            found = self._hold(text)
            if found is not None:
                taken = self._take_hold(found, item)
            else:
                found = self._record(text)
                taken = found is not None and self._take_record(found, item)
            if not taken:
                self._apply(Event(Change.PUT, item))

    def _take_hold(self, found: re.Match[str], item: KeyValue) -> bool:
        owner, kind, name, by = found.groups()
        # Past the named tuple's own constructor, which is not compiled.
        resource: Resource = tuple.__new__(Resource, (intern(owner), intern(kind), name))
        if resource in self._entries:
            return False
        known = self._holders.get(by) or self._look_up(by, item)
        if known is None:
            return False
        try:
            released = decode(HoldRecord, item.value).released
        except Unreadable:
            return False
        holder, holding = known
        self._entries[resource] = Entry(resource, held=Hold(holder, item.mod_revision, released))
        holding.resources.add(resource)
        return True

    def _look_up(self, by: str, item: KeyValue) -> tuple[Holder, HolderEntry] | None:
        if by in self._holders:
            return None
        key = self._keys.parse(item.key)
        holder = Holder(intern(key.holder)) if key is not None else None
        known = self._holders[by] = (holder, self._holder_of(holder)) if holder is not None else None
        return known

    def _take_record(self, found: re.Match[str], item: KeyValue) -> bool:
        owner, kind, name = found.groups()
        resource: Resource = tuple.__new__(Resource, (intern(owner), intern(kind), name))
        entry = self._entries.get(resource)
        if entry is not None and (entry.record or type(entry.held) is not Hold or entry.sources):
            return False
        try:
            record = decode(ResourceRecord, item.value)
        except Unreadable:
            return False
        if record.references:
            return False
        if entry is None:
            entry = self._entries[resource] = Entry(resource)
        held, revision = entry.held, item.mod_revision
        # A record and its first hold are mostly of one transaction: then one number serves both.
        entry.record = revision = held.revision if type(held) is Hold and held.revision == revision else revision
        entry.created = revision if item.create_revision == revision else item.create_revision
        entry.readable = True
        entry.rule, entry.grace_class = intern(record.rule), ClassName(intern(record.grace_class))
        entry.incarnation, entry.creator = record.incarnation, intern(record.creator)
        return True
