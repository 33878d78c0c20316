"""What should be left against what is left: the demo's judgement. Pure.

The evidence is the owners' *own* contents, not what Leasehold believes; its records only have to agree with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from leasehold.protocol.names import Resource


@dataclass(slots=True)
class Ledger:
    """What happened on stage, as the programs themselves told it.

    ``bystanders`` were put into the owners without any sidecar: none of our business, ever (S6).
    """

    created: dict[Resource, str] = field(default_factory=dict)
    """Each resource with the name of its creator."""
    deleted_by_program: set[Resource] = field(default_factory=set)
    keep: set[Resource] = field(default_factory=set)
    bystanders: set[Resource] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    """What programs said they lost, or other things that must not happen."""

    @property
    def must_stay(self) -> set[Resource]:
        return self.keep | self.bystanders

    @property
    def must_go(self) -> set[Resource]:
        return set(self.created) - self.keep


@dataclass(frozen=True, slots=True)
class Verdict:
    """Scripts read this as JSON: fields are only ever added."""

    created: int
    swept: int
    deleted_by_program: int
    kept: int
    """Created through a sidecar, still in use, still there: created = swept + deleted_by_program + kept + leaked."""
    bystanders: int
    """Created past every sidecar, and untouched."""
    leaked: int
    wrongly_deleted: int
    stale_records: int
    unprotected: int
    seconds: float
    ok: bool
    problems: tuple[str, ...]


def judge(ledger: Ledger, found: Iterable[Resource], recorded: Mapping[Resource, str], seconds: float) -> Verdict:
    """``found`` is what the owners have, ``recorded`` what etcd has records of, with states."""
    left = set(found)
    leaked = ledger.must_go & left
    wrongly_deleted = ledger.must_stay - left
    stale = ledger.must_go & set(recorded)
    unprotected = {resource for resource in ledger.keep if recorded.get(resource) != "held"}
    problems = [
        *(f"leaked: {resource} is still at its owner" for resource in sorted(leaked)),
        *(f"wrongly deleted: {resource} is gone from its owner" for resource in sorted(wrongly_deleted)),
        *(f"stale record: etcd still says {resource} is {recorded[resource]}" for resource in sorted(stale)),
        *(
            f"unprotected: {resource} is in use, but {recorded.get(resource, 'not recorded')}"
            for resource in sorted(unprotected)
        ),
        *ledger.complaints,
    ]
    return Verdict(
        created=len(ledger.created),
        swept=len(ledger.must_go - ledger.deleted_by_program - left),
        deleted_by_program=len(ledger.deleted_by_program - left),
        kept=len(ledger.keep & left),
        bystanders=len(ledger.bystanders & left),
        leaked=len(leaked),
        wrongly_deleted=len(wrongly_deleted),
        stale_records=len(stale),
        unprotected=len(unprotected),
        seconds=round(seconds, 1),
        ok=not problems,
        problems=tuple(problems),
    )
