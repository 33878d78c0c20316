"""What we have of certificates, and what is due. Pure: facts and the present instant in, the next step out.

A new authority overlaps with the old one, because API servers, replicas and their caches learn of it one by one:

    introduce  a new authority is published beside the old one, and signs nothing yet
    promote    after the overlap, and only once its publication was seen: it signs; the old one is still published
    retire     after the overlap again: the old one is published no more

So at every instant whatever any replica serves was signed by what has been published for an overlap. Certificates count
by the wall clock, and so does this; nothing here decides over deletion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM, and what it says. ``issuer`` names the authority's key; ``key`` is empty where only the trust is left."""

    pem: bytes
    key: bytes
    issuer: str
    subject: str
    not_before: datetime
    not_after: datetime
    names: frozenset[str] = frozenset()

    def is_due(self, now: datetime) -> bool:
        """Two thirds of its life are over."""
        return now >= self.not_before + (self.not_after - self.not_before) * 2 / 3


@dataclass(frozen=True, slots=True)
class Material:
    """``current`` signs, ``upcoming`` will, ``former`` did; ``serving`` is what the webhook shows."""

    current: Certificate
    serving: Certificate
    upcoming: Certificate | None = None
    former: Certificate | None = None

    @property
    def bundle(self) -> bytes:
        """Every authority to be trusted."""
        every = [one for one in (self.current, self.upcoming, self.former) if one is not None]
        # In an order that a promotion does not change: what did not change is not published again.
        return b"".join(authority.pem for authority in sorted(every, key=lambda one: (one.not_before, one.pem)))


class Step(StrEnum):
    """What is to be done next, if anything."""

    NOTHING = "nothing"
    FOUND = "found"
    ISSUE = "issue"
    INTRODUCE = "introduce"
    PROMOTE = "promote"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long things last."""

    authority: timedelta = timedelta(days=365)
    serving: timedelta = timedelta(days=30)
    overlap: timedelta = timedelta(hours=1)


def next_step(material: Material | None, now: datetime, names: frozenset[str], plan: Plan, *, published: bool) -> Step:
    """``published``: the whole bundle was seen where API servers look. One step at a time; ask again after it."""
    if material is None or now >= material.current.not_after:
        return Step.FOUND
    serving = material.serving
    if serving.issuer != material.current.subject or serving.names != names or serving.is_due(now):
        return Step.ISSUE
    return _step_of_authorities(material, now, plan, published=published)


def _step_of_authorities(material: Material, now: datetime, plan: Plan, *, published: bool) -> Step:
    upcoming, former = material.upcoming, material.former
    if former is not None:
        since_promotion = now - material.serving.not_before
        return Step.RETIRE if since_promotion >= plan.overlap or now >= former.not_after else Step.NOTHING
    if upcoming is not None:
        return Step.PROMOTE if published and now - upcoming.not_before >= plan.overlap else Step.NOTHING
    return Step.INTRODUCE if material.current.is_due(now) else Step.NOTHING


def with_step_taken(material: Material, step: Step, made: Mapping[str, Certificate]) -> Material:
    """``made``: the certificates that the step needed, by what they become."""
    if step is Step.ISSUE:
        return Material(material.current, made["serving"], material.upcoming, material.former)
    if step is Step.INTRODUCE:
        return Material(material.current, material.serving, made["upcoming"], material.former)
    if step is Step.PROMOTE and material.upcoming is not None:
        return Material(material.upcoming, made["serving"], None, material.current)
    if step is Step.RETIRE:
        return Material(material.current, material.serving, material.upcoming, None)
    return material
