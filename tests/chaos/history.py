"""What happened in one run, as seen from outside: values, and their files. Nothing of the product is imported here.

All times are seconds on ``CLOCK_MONOTONIC``, which every process of one machine shares. Of a change in etcd the exact
moment is not known, only bounds: ``earliest`` is when somebody *began* to write something that got an older revision,
``latest`` when somebody first *saw* this revision or a later one. A judge condemns only what no moment in between
would excuse, so a slow witness never accuses anybody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

COLLECTOR = "collector"
OTHER_COLLECTOR = "collector:other"
"""That of the second tenant, by the credentials it shows."""
STRANGER = "stranger"
STALL = "stall"
"""The kind of a fault that nobody made: the machine stood still."""
STRAY = "stray"
"""It carries our label, and no sidecar saw it being made."""


@dataclass(frozen=True, slots=True)
class Event:
    """One key's change in etcd. ``value`` is empty for a deletion; ``key`` is as written, percent-encoded."""

    revision: int
    key: str
    value: str
    deleted: bool
    earliest: float
    latest: float
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One request as its owner saw it. ``who``: ``collector``, ``program:<name>`` or ``stranger``.

    ``uid`` is the incarnation that was there (or came to be; of a delete, the one that it could hit), ``effect`` what
    became of it: ``created``, ``removed`` or nothing. ``method`` is HTTP's, or ``VERIFY`` (``effect``: ``in-use``,
    ``not-in-use``), ``CONDEMN``, ``RESTORE``, ``LIST`` (``effect``: ``listed`` after the last page). ``copy_of``: the
    owner itself carried out an earlier request once more. ``revision``: what etcd said *after* the arrival when asked
    for its newest one; 0 if it did not answer. ``status`` 0: never answered. ``lied``: the answer was not true.
    ``caller``: the control plane whose connection it came by; empty where nobody can tell.
    """

    owner: str
    id: str
    method: str
    who: str
    request: str
    arrived: float
    answered: float
    status: int
    uid: str = ""
    effect: str = ""
    copy_of: str = ""
    revision: int = 0
    lied: bool = False
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Until when an owner says that an incarnation is in use, whoever asks. It never is again after that."""

    owner: str
    id: str
    uid: str
    until: float


@dataclass(frozen=True, slots=True)
class Referral:
    """A program was told that this incarnation needs others: ``refers`` are their owners and ids, ``owner/id``."""

    program: str
    owner: str
    id: str
    uid: str
    refers: tuple[str, ...]
    asked: float
    told: float


@dataclass(frozen=True, slots=True)
class Belief:
    """A program believes to hold an incarnation, from when it was told until when it let go or ended.

    ``how``: ``created`` or ``used``. ``program`` is empty where the hold is not its own: a timer's, a service's.
    """

    program: str
    owner: str
    id: str
    uid: str
    since: float
    until: float
    how: str


@dataclass(frozen=True, slots=True)
class Told:
    """A program was answered with success: it asked at ``asked`` and read the answer at ``told``.

    ``audit`` is what etcd said right afterwards, when the program asked it itself: ``held``, ``recorded`` (there is a
    record, but no hold of this program), ``absent``, ``sweeping``; empty if it did not ask or was not answered.
    """

    program: str
    owner: str
    id: str
    uid: str
    how: str
    asked: float
    told: float
    audit: str = ""


@dataclass(frozen=True, slots=True)
class Life:
    """A program's process. ``ended`` is taken before it was killed, or when it said so; infinite while it lives."""

    program: str
    began: float
    ended: float
    how: str


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``cut``: whose sidecars could not renew their leases meanwhile (``*``: nobody's could)."""

    kind: str
    began: float
    ended: float
    took_effect: bool
    evidence: dict[str, Any]
    cut: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leftover:
    """What an owner contains at the end."""

    owner: str
    id: str
    uid: str
    who: str


@dataclass(frozen=True, slots=True)
class Ending:
    """After healing: who lived when attachment was judged, and what was left when everything had to be gone."""

    healed: float = 0.0
    attached_by: float = 0.0
    attached_revision: int = 0
    living: tuple[str, ...] = ()
    abandoned: float = 0.0
    settled: float = 0.0
    leftovers: tuple[Leftover, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """What the run promised. Seconds."""

    tenant: str
    ttl: float
    grace: float
    hold_deadline: float
    seed: int
    intending: tuple[str, ...] = ()
    """Owners whose creations are recorded as intents before they leave."""
    other: str = "other"
    """A second tenant, which lives beside the one that is judged."""


@dataclass(slots=True)
class History:
    """One run. ``gaps``: why the witness may have missed something, or the run ended early."""

    terms: Terms
    events: list[Event] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    others: list[Call] = field(default_factory=list)
    """Calls of the second tenant."""
    beliefs: list[Belief] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    referrals: list[Referral] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    ending: Ending = field(default_factory=Ending)
    falls: list[str] = field(default_factory=list)
    """Parts of the product that ended by themselves, with the end of what they wrote."""
    gaps: list[str] = field(default_factory=list)


_LISTS: dict[str, type] = {
    "events": Event, "calls": Call, "others": Call, "beliefs": Belief, "told": Told, "lives": Life, "faults": Fault,
    "usages": Usage, "referrals": Referral,
}  # fmt: skip


def save(history: History, folder: Path) -> None:
    """One file of JSON lines per list, and ``history.json`` for the rest."""
    for name in _LISTS:
        write_lines(folder / f"{name}.jsonl", (asdict(item) for item in getattr(history, name)))
    rest = {
        "terms": asdict(history.terms), "ending": asdict(history.ending), "gaps": history.gaps, "falls": history.falls,
    }  # fmt: skip
    (folder / "history.json").write_text(json.dumps(rest, indent=1))


def load(folder: Path) -> History:
    """What ``save`` wrote. Raises ``OSError`` or ``ValueError``."""
    rest = json.loads((folder / "history.json").read_text())
    rest["terms"]["intending"] = tuple(rest["terms"]["intending"])
    ending = rest["ending"]
    ending["leftovers"] = tuple(Leftover(**one) for one in ending["leftovers"])
    ending["living"] = tuple(ending["living"])
    history = History(Terms(**rest["terms"]), ending=Ending(**ending), gaps=rest["gaps"], falls=rest["falls"])
    for name, kind in _LISTS.items():
        setattr(history, name, [kind(**line) for line in read_lines(folder / f"{name}.jsonl")])
    return history


def write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    with path.open("w") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """What a killed process left half written at the end is skipped."""
    if not path.exists():
        return
    for line in path.read_text(errors="replace").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue
