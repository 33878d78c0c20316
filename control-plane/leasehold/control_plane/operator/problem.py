"""What an answer can be instead of one: a status, a sentence, and details. Both ways in tell it in their own terms."""

from __future__ import annotations

from collections.abc import Sequence

from grpclib.const import Status

from leasehold.control_plane.core.pages import BadPage
from leasehold.operating.deeds import Changed, NotDone, Unfit, Unknown
from leasehold.protocol.configuration import BadConfiguration
from leasehold.protocol.errors import AccessDenied, LeaseholdError, NoSpace, StoreError, Unavailable, Uncertain


class Problem(LeaseholdError):
    """The call is refused, or did not succeed."""

    def __init__(self, status: Status, message: str, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.details = status, message, tuple(details)


def invalid(message: str) -> Problem:
    """The request makes no sense, whatever the state of things."""
    return Problem(Status.INVALID_ARGUMENT, message)


def problem_of(error: Exception) -> Problem | None:
    """What to tell of it; ``None``: it is a mistake of ours."""
    match error:
        case Problem():
            return error
        case BadPage():
            return invalid(str(error))
        case BadConfiguration():
            details = tuple(map(str, error.mistakes))
            return Problem(Status.INVALID_ARGUMENT, "; ".join(details), details)
        case Unknown():
            return Problem(Status.NOT_FOUND, str(error))
        case Changed():
            return Problem(Status.ABORTED, str(error))
        case Unfit() | NotDone():
            return Problem(Status.FAILED_PRECONDITION, str(error))
        case StoreError():
            return Problem(_of_store(error), f"etcd: {error}")
        case TimeoutError():
            return Problem(Status.DEADLINE_EXCEEDED, "it took too long; look before repeating a write")
        case _:
            return None


def _of_store(error: StoreError) -> Status:
    match error:
        case Unavailable():
            return Status.UNAVAILABLE
        case Uncertain():
            return Status.DEADLINE_EXCEEDED
        case NoSpace():
            return Status.RESOURCE_EXHAUSTED
        case AccessDenied():
            return Status.INTERNAL
        case _:
            return Status.UNAVAILABLE
