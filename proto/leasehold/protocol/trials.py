"""Trying rules on one captured call: what is asked of ``python -m leasehold.sidecar.explain``, and what it answers.

Said in JSON over its standard input and output. The question carries the rules as documents, as they would be stored
in etcd; the answer comes from the observer that also reads along in production. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

MAX_CAPTURED_BYTES = 32 * 1024 * 1024
"""Of one side of a call. Twice the largest ``body_limit``: what is larger would not be looked at anyway."""


class CapturedHttp(msgspec.Struct, frozen=True, tag="http"):
    """Two messages of HTTP/1.1, as they were captured."""

    request: bytes
    response: bytes


class CapturedGrpc(msgspec.Struct, frozen=True, tag="grpc"):
    """A call of ``path`` (``/service/method``). Messages are protobuf, or JSON where the owner's descriptor set can
    translate it; ``None``: none was sent. ``metadata`` is the answer's."""

    path: str
    request: bytes | None
    response: bytes | None
    status: int = 0
    metadata: dict[str, str] = {}


class Trial(msgspec.Struct, frozen=True):
    """The question. ``destination``: where the connection went to (``host:port``), if known."""

    owners: list[dict[str, Any]]
    rules: list[dict[str, Any]]
    call: CapturedHttp | CapturedGrpc
    destination: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """What one rule of the called owner makes of the call.

    ``matched``: method, path and status fit, and no earlier rule of the same kind goes first. ``reason``: what stands
    in the way of a resource; ``protocol``, ``method``, ``path``, ``status``, ``earlier-rule`` or ``unfinished`` where
    it did not match, a reason of ``leasehold_sidecar_unusable_calls_total`` where it did; empty where there is a
    resource. ``why`` says the same in a sentence. ``holds`` tells which of ``request`` and ``response`` would wait.
    """

    rule: str
    on: str
    matched: bool
    reason: str
    why: str
    resource: str | None
    incarnation: str | None
    held_by: str | None
    ttl_seconds: float | None
    mode: str
    mode_wanted: str
    commit: str
    holds: tuple[str, ...]
    hold_deadline_seconds: float
    warnings: tuple[str, ...]
    references: tuple[str, ...] = ()
    """What the resource would be registered as needing; ``owner/type/*`` is everything of that type."""
    doubt: str = ""
    """Why that is more than was read, in a sentence; empty: it is just what was read."""


class Explanation(msgspec.Struct, frozen=True):
    """The answer. ``owner`` is who was called, if the rules know; then ``known_by`` is ``authority`` or
    ``destination``, and there is a verdict on each of its rules in their order. ``trouble``: why there can be none, or
    why the call cannot be followed. ``remarks``: what was changed in what was captured, or is odd about it."""

    method: str
    target: str
    status: int
    authority: str
    destination: str
    owner: str | None
    known_by: str
    hosts: dict[str, tuple[str, ...]]
    verdicts: tuple[Verdict, ...]
    trouble: str
    remarks: tuple[str, ...]

    @property
    def found(self) -> bool:
        """Whether some rule matched and gave a resource."""
        return any(verdict.resource is not None for verdict in self.verdicts)
