"""What rules that may not sweep would have swept, and how often that would have been wrong. Pure.

    unheld --a whole grace--> would have been deleted --somebody needs it after all--> wrong
                                                      --its app deletes it itself--> by the app
                                                      --nobody has missed it yet--> unheld
    unheld --held again within its grace--> (nothing: the grace is for that)

So all that would have been deleted is the sum of the three. Where the rule condemns (``mode: condemn``) the real
tombstone and the real epochs decide when the grace is over; where it only observes, a clock of our own does, which
stands still while nothing may be prepared: what the brake or a warm-up would have kept is not held against a rule.

``wrong`` and ``by_app`` are counted for ever, examples and the ids of what is still unheld are the first few. A
successor goes on with them; of the rest it begins each grace anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from leasehold.protocol.names import Instant, Resource
from leasehold.protocol.records import ShadowExample, ShadowRecord

MAX_EXAMPLES = 10
MAX_STILL = 200


class Phase(Enum):
    """How a resource stands, as far as this report is concerned."""

    UNHELD = "unheld"
    """Nobody holds it; no tombstone tells since when."""
    OVER = "over"
    """A tombstone's grace is over: a rule that sweeps would have it prepared now."""
    NEEDED = "needed"
    """Held, pinned or asked for; or its tombstone's grace is running."""
    GONE = "gone"
    """There is no record any more."""
    OTHER = "other"
    """Not for this report: its rule sweeps, or permits nothing."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A resource as it is now. ``who``: a living holder of it, if there is one."""

    resource: Resource
    rule: str
    mode: str
    phase: Phase
    who: str = ""


@dataclass(slots=True)
class _Watched:
    rule: str
    since: Instant
    ripe: bool = False


@dataclass(slots=True)
class _Tally:
    mode: str = ""
    wrong: int = 0
    by_app: int = 0
    examples: list[ShadowExample] = field(default_factory=list)


class Shadow:
    """One tenant's report, as one replica keeps it."""

    def __init__(self) -> None:
        self._watched: dict[Resource, _Watched] = {}
        self._tallies: dict[str, _Tally] = {}
        self._inherited: dict[Resource, str] = {}
        self.changed: set[str] = set()
        """Rules whose report is not as it was when somebody last took note."""

    def inherit(self, rule: str, record: ShadowRecord, still: Iterable[Resource]) -> None:
        """What another replica had counted. To be called before anything of this rule is seen."""
        self._tallies[rule] = _Tally(record.mode, record.wrong, record.by_app, list(record.examples))
        self._inherited.update((resource, rule) for resource in still)

    def see(self, now: Instant, sight: Sight) -> None:
        """A resource changed, or is looked at for the first time."""
        known = self._watched.get(sight.resource)
        if known is None and sight.resource in self._inherited:
            rule = self._inherited.pop(sight.resource)
            known = self._watched[sight.resource] = _Watched(rule, now, ripe=True)
        if sight.phase in {Phase.UNHELD, Phase.OVER}:
            self._tally(sight.rule).mode = sight.mode
            if known is None:
                known = self._watched[sight.resource] = _Watched(sight.rule, now)
            if sight.phase is Phase.OVER and not known.ripe:
                self._ripen(known, now)
        elif known is not None:
            self._end(now, known, sight)

    def ripen(self, now: Instant, graces: Iterable[tuple[Resource, float]]) -> None:
        """Time passed in which preparing was allowed: these are still unheld, each with its rule's grace in seconds."""
        for resource, grace in graces:
            known = self._watched.get(resource)
            if known is not None and not known.ripe and now - known.since >= grace:
                self._ripen(known, now)

    def pause(self, now: Instant) -> None:
        """Nothing may be prepared: no grace that is not over goes on, and each begins anew."""
        for known in self._watched.values():
            if not known.ripe:
                known.since = now

    def remembers(self, resource: Resource) -> bool:
        """Whether anything is remembered of it."""
        return resource in self._watched or resource in self._inherited

    def known(self) -> set[Resource]:
        """All that anything is remembered of."""
        return {*self._watched, *self._inherited}

    def waiting(self) -> list[Resource]:
        """Unheld, their grace not over."""
        return [resource for resource, known in self._watched.items() if not known.ripe]

    def records(self) -> dict[str, ShadowRecord]:
        """The report, rule by rule."""
        still: dict[str, list[str]] = {}
        counts: dict[str, int] = {}
        for resource, known in self._ripe():
            counts[known] = counts.get(known, 0) + 1
            if len(names := still.setdefault(known, [])) < MAX_STILL:
                names.append(str(resource))
        return {
            rule: ShadowRecord(
                tally.mode, tally.wrong, tally.by_app, counts.get(rule, 0), tuple(tally.examples),
                tuple(still.get(rule, ())),
            )
            for rule, tally in self._tallies.items()
        }  # fmt: skip

    # --- parts --------------------------------------------------------------------------------------------------

    def _ripe(self) -> Iterator[tuple[Resource, str]]:
        yield from ((resource, known.rule) for resource, known in self._watched.items() if known.ripe)
        yield from self._inherited.items()

    def _tally(self, rule: str) -> _Tally:
        return self._tallies.setdefault(rule, _Tally())

    def _ripen(self, known: _Watched, now: Instant) -> None:
        known.ripe, known.since = True, now
        self.changed.add(known.rule)

    def _end(self, now: Instant, known: _Watched, sight: Sight) -> None:
        del self._watched[sight.resource]
        if not known.ripe or sight.phase is Phase.OTHER:
            return
        self.changed.add(known.rule)
        tally = self._tally(known.rule)
        if sight.phase is Phase.GONE:
            tally.by_app += 1
            return
        tally.wrong += 1
        if len(tally.examples) < MAX_EXAMPLES:
            tally.examples.append(ShadowExample(str(sight.resource), sight.who, round(now - known.since, 3)))
