"""What the rooms of the sidecar need from one another."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Protocol

from leasehold.protocol.names import CallId, Resource
from leasehold.protocol.rules import Rule
from leasehold.sidecar.observe.events import Observation


class Outcome(StrEnum):
    """How an observation ended. The future that carries it resolves only after the durable write (S8)."""

    REGISTERED = "registered"
    ALREADY_HELD = "already-held"
    FORGOTTEN = "forgotten"
    NOT_OURS = "not-ours"
    """Used or deleted, but no rule ever saw it created: it stays none of our business (S6)."""
    BEING_SWEPT = "being-swept"
    """Too late: the collector is deleting it (a late return)."""
    UNPROTECTED = "unprotected"
    """Nobody to hold for: the host has ended, or the journal is full."""


class Registrar(Protocol):
    """Takes what was observed and makes it durable. None of these block; a future is never cancelled by us.

    A future that its caller stops waiting for goes on: the observation is in the journal and is retried until it
    lands or the host dies.
    """

    def intend(
        self, rule: Rule, call: CallId, method: str, target: str, resource: Resource | None, key: str = ""
    ) -> asyncio.Future[Outcome]:
        """Before the request leaves: record that this call may create something (``commit: before-request``).

        ``key``: the idempotency key that the request carries in the header its rule names; empty: none.
        """
        ...

    def retract(self, call: CallId) -> None:
        """The intended call created nothing (another status, no usable id, never sent)."""
        ...

    def observed(self, observation: Observation) -> asyncio.Future[Outcome]:
        """Register, acquire or forget. A use of what is held already returns a finished future."""
        ...
