"""The life cycle of a resource, as a table: facts in, state and next step out. Pure.

    held --last hold ends--> unheld --condemn--> condemned --epoch opens--> in-grace --epoch done, prepare--> prepared
    prepared --send--> sent --owner says gone--> (gone)
    condemned, in-grace --somebody holds it after all, revive--> held
    prepared, sent --a holder came back before the first send, or the owner refused: abort--> held or unheld
    sent --no end in sight--> quarantined --slow retry--> sent

What stops the way down: ``observe-only`` (rule or owner permits no more), a pin, and ``unaccounted``: no hold at all,
or one whose holder nothing is known of. Absence permits nothing, so an unaccounted resource is kept, and shown.

The table is total over its three columns; ``tests/unit/control_plane/core/test_lifecycle.py`` holds it to that.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from itertools import product
from typing import NamedTuple

from leasehold.protocol.records import SweepState
from leasehold.protocol.rules import Mode


class State(StrEnum):
    """Where a resource stands, in the glossary's words."""

    HELD = "held"
    UNHELD = "unheld"
    CONDEMNED = "condemned"
    IN_GRACE = "in-grace"
    PREPARED = "prepared"
    SENT = "sent"
    QUARANTINED = "quarantined"
    OBSERVE_ONLY = "observe-only"
    UNACCOUNTED = "unaccounted"


class Step(StrEnum):
    """What the collector tries next. Whether it is allowed is decided by the transaction."""

    CONDEMN = "condemn"
    REVIVE = "revive"
    PREPARE = "prepare"
    SWEEP = "sweep"


class Holding(Enum):
    """Who needs it, as far as the index knows."""

    HELD = "held"
    """A living holder, or a referring resource that exists."""
    UNHELD = "unheld"
    """There are holds, and each is released or its holder known and dead."""
    RESTLESS = "restless"
    """Unheld, but a holder came back or ended since the tombstone: the grace must start anew."""
    PINNED = "pinned"
    """Unheld, and an operator said keep."""
    UNACCOUNTED = "unaccounted"
    """No holds, a holder without roster entry, or something that cannot be read."""

    __hash__ = object.__hash__  # there is one of each, and the table is looked up at every event


class Grace(Enum):
    """How far the grace is."""

    NONE = "none"
    """No tombstone."""
    WAITING = "waiting"
    """No epoch opened after the tombstone yet."""
    RUNNING = "running"
    OVER = "over"

    __hash__ = object.__hash__  # there is one of each, and the table is looked up at every event


class Sweeping(Enum):
    """How far the irreversible part is."""

    NONE = "none"
    PREPARED = "prepared"
    SENT = "sent"
    QUARANTINED = "quarantined"
    UNREADABLE = "unreadable"
    """A sweep nobody can read: blocked until somebody mends it."""

    __hash__ = object.__hash__  # there is one of each, and the table is looked up at every event


class Facts(NamedTuple):
    """What the state is made of."""

    sweep: Sweeping
    grace: Grace
    holding: Holding


_TOMBSTONE = (Grace.WAITING, Grace.RUNNING, Grace.OVER)
_ANY_GRACE = tuple(Grace)
_ANY_HOLDING = tuple(Holding)
_DISTURBED = (Holding.HELD, Holding.RESTLESS)

_ROWS: tuple[tuple[tuple[Sweeping, ...], tuple[Grace, ...], tuple[Holding, ...], State, Step | None], ...] = (
    # sweep                    grace             holding                  state              next step
    ((Sweeping.PREPARED,),    _ANY_GRACE,       _ANY_HOLDING,            State.PREPARED,    Step.SWEEP),
    ((Sweeping.SENT,),        _ANY_GRACE,       _ANY_HOLDING,            State.SENT,        Step.SWEEP),
    ((Sweeping.QUARANTINED,), _ANY_GRACE,       _ANY_HOLDING,            State.QUARANTINED, Step.SWEEP),
    ((Sweeping.UNREADABLE,),  _ANY_GRACE,       _ANY_HOLDING,            State.QUARANTINED, None),
    ((Sweeping.NONE,),        _TOMBSTONE,       (Holding.UNACCOUNTED,),  State.UNACCOUNTED, Step.REVIVE),
    ((Sweeping.NONE,),        (Grace.WAITING,), _DISTURBED,              State.CONDEMNED,   Step.REVIVE),
    ((Sweeping.NONE,),        _TOMBSTONE,       _DISTURBED,              State.IN_GRACE,    Step.REVIVE),
    ((Sweeping.NONE,),        (Grace.WAITING,), (Holding.UNHELD, Holding.PINNED), State.CONDEMNED, None),
    ((Sweeping.NONE,),        (Grace.RUNNING,), (Holding.UNHELD, Holding.PINNED), State.IN_GRACE,  None),
    ((Sweeping.NONE,),        (Grace.OVER,),    (Holding.UNHELD,),       State.IN_GRACE,    Step.PREPARE),
    ((Sweeping.NONE,),        (Grace.OVER,),    (Holding.PINNED,),       State.IN_GRACE,    None),
    ((Sweeping.NONE,),        (Grace.NONE,),    (Holding.HELD,),         State.HELD,        None),
    ((Sweeping.NONE,),        (Grace.NONE,),    (Holding.UNHELD, Holding.RESTLESS), State.UNHELD, Step.CONDEMN),
    ((Sweeping.NONE,),        (Grace.NONE,),    (Holding.PINNED,),       State.UNHELD,      None),
    ((Sweeping.NONE,),        (Grace.NONE,),    (Holding.UNACCOUNTED,),  State.UNACCOUNTED, None),
)  # fmt: skip


def _table() -> dict[Facts, tuple[State, Step | None]]:
    table: dict[Facts, tuple[State, Step | None]] = {}
    for sweeps, graces, holdings, state, step in _ROWS:
        for facts in map(Facts._make, product(sweeps, graces, holdings)):
            table.setdefault(facts, (state, step))
    return table


TABLE = _table()
"""Every combination of facts; the first row that fits wins."""

SWEEPING = {
    None: Sweeping.NONE,
    SweepState.PREPARED: Sweeping.PREPARED,
    SweepState.SENT: Sweeping.SENT,
    SweepState.QUARANTINED: Sweeping.QUARANTINED,
}


def state_of(facts: Facts) -> State:
    """Where a resource with these facts stands."""
    return TABLE[facts][0]


def step_of(facts: Facts) -> Step | None:
    """What the collector tries next, if anything."""
    return TABLE[facts][1]


def as_permitted(state: State, mode: Mode | None) -> State:
    """The state as shown: what is unheld but may only be watched (or has no usable rule) is ``observe-only``."""
    return State.OBSERVE_ONLY if state is State.UNHELD and mode in {None, Mode.OBSERVE} else state
