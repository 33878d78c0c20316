"""What an owner's answer means for a sweep, as a table. Pure.

Only "gone" ends a sweep well. Whatever is not in the table means "unknown": nothing is concluded, it is tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum


class Verdict(StrEnum):
    """What follows from a sweep call."""

    GONE = "gone"
    """It is not there any more."""
    ABSENT = "absent"
    """It was not there in the first place. Fine once in a while; from most deletes it makes the owner suspect."""
    REPLACED = "replaced"
    """Another incarnation has its place: the recorded one is gone, the other was not touched."""
    PENDING = "pending"
    """The owner agreed, but it is still there: look again later."""
    REFUSED = "refused"
    """Not in this condition: abort, verify again, back off."""
    MISCONFIGURED = "misconfigured"
    """Only an operator can mend this: the breaker opens."""
    UNVERIFIABLE = "unverifiable"
    """It cannot be told whether what is there is what was recorded: never deleted, quarantine."""
    WAIT = "wait"
    """Later, as told."""
    TOLD = "told"
    """Told of a condemnation, or of its end: it did as it was told."""
    IN_USE = "in-use"
    """Asked whether it is in use: yes. Vetoes."""
    NOT_IN_USE = "not-in-use"
    """Asked whether it is in use: no."""
    UNKNOWN = "unknown"
    """It may or may not have happened."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict, in words for the record, and how long to wait if we were told."""

    verdict: Verdict
    detail: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """An owner's answer as it came. ``whole`` False: it was longer than we read."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool = True

    @property
    def wait(self) -> float | None:
        """Seconds, if we were told to wait."""
        return retry_after(self.headers.get("Retry-After"), self.headers.get("Date"))


_GONE = frozenset({404, 410})
_REFUSED = frozenset({409, 412, 423})
_MISCONFIGURED = frozenset({400, 401, 403, 405, *range(300, 400)})
_WAIT = frozenset({429, 503})
_UNKNOWN = frozenset({408, 425, *range(500, 600)})


def of_delete(status: int) -> Verdict:
    """What the answer to a delete means. 202 is agreed but not done; any other 2xx is done, if a read confirms it."""
    if status in _GONE:
        return Verdict.ABSENT
    if status == 202:
        return Verdict.PENDING
    if 200 <= status < 300:
        return Verdict.GONE
    return _of_trouble(status)


def of_read(status: int) -> Verdict | None:
    """What the answer to a read means; ``None``: it is there."""
    if status in _GONE:
        return Verdict.ABSENT
    if 200 <= status < 300:
        return None
    verdict = _of_trouble(status)
    # A read refuses nothing: an odd answer to it says nothing about the resource.
    return Verdict.UNKNOWN if verdict is Verdict.REFUSED else verdict


def of_notice(status: int) -> Verdict:
    """What the answer to a ``condemn`` or ``restore`` means."""
    if status in _GONE:
        return Verdict.ABSENT
    return Verdict.TOLD if 200 <= status < 300 else _of_trouble(status)


def _of_trouble(status: int) -> Verdict:
    if status in _MISCONFIGURED:
        return Verdict.MISCONFIGURED
    if status in _WAIT:
        return Verdict.WAIT
    if status in _REFUSED:
        return Verdict.REFUSED
    if status in _UNKNOWN or not 400 <= status < 500:
        return Verdict.UNKNOWN
    # 406, 422 and their like are about this one resource: no reason to stop calling the owner.
    return Verdict.REFUSED


LONGEST_WAIT_SECONDS = 3600.0


def retry_after(value: str | None, date: str | None) -> float | None:
    """Seconds, from a ``Retry-After`` header: a number, or a date as compared with the owner's own ``Date`` (our wall
    clock decides nothing). ``None``: not told, or not to be understood."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), LONGEST_WAIT_SECONDS)
    try:
        then = parsedate_to_datetime(text).replace(tzinfo=UTC)
        now = parsedate_to_datetime(date or "").replace(tzinfo=UTC)
    except ValueError:
        return None
    return min(max((then - now).total_seconds(), 0.0), LONGEST_WAIT_SECONDS)
