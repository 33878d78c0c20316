"""A lease session: what we may believe about our lease, and until when. Pure.

Facts come in (granted, attached, kept, lost, the clock), commands go out; the driver carries the commands out and
reports back. Three laws:

- Belief is counted from the *send* of a renewal: etcd restarted the TTL before we heard of it.
- A renewal's answer is no proof that the beacon exists. Only the attach transaction and a watch on the beacon are.
- A lost lease costs belief at once; regaining it means granting *and* attaching again.

Used by the sidecar's keeper (beacon) and by the control plane's shard claim. States and events:

    DETACHED  --start/wake--> GRANTING  --granted--> ATTACHING --attached--> ATTACHED
    ATTACHING, ATTACHED --lease lost--> GRANTING        ATTACHED --beacon gone--> ATTACHING
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from leasehold.protocol.names import Instant, LeaseId, Revision

NO_LEASE = LeaseId(0)


class Phase(Enum):
    """Where a session stands."""

    DETACHED = "detached"
    GRANTING = "granting"
    ATTACHING = "attaching"
    ATTACHED = "attached"


@dataclass(frozen=True, slots=True)
class Grant:
    """Grant a lease (``lease`` 0: any id), then report ``on_granted`` or ``on_failed``."""

    ttl_seconds: int
    lease: LeaseId


@dataclass(frozen=True, slots=True)
class Attach:
    """Put the beacon under this lease, then report ``on_attached``, ``on_lease_lost`` or ``on_failed``."""

    lease: LeaseId


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Renew, then report ``on_kept``, ``on_lease_lost`` or ``on_failed``."""

    lease: LeaseId


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Call ``on_wake`` then; a later ``WakeAt`` replaces it."""

    instant: Instant


Command = Grant | Attach | KeepAlive | WakeAt


class Session:
    """One lease and the beacon on it. ``lease`` may name one to resume or share; 0 lets etcd choose."""

    __slots__ = ("_attached_revision", "_retry", "_shared", "lease", "phase", "ttl_seconds", "valid_until")

    def __init__(self, ttl_seconds: int, *, shared_lease: LeaseId = NO_LEASE, resumed: LeaseId = NO_LEASE) -> None:
        self.ttl_seconds = ttl_seconds
        self.phase = Phase.DETACHED
        self.lease = resumed
        self.valid_until = Instant(float("-inf"))
        self._shared = shared_lease
        self._attached_revision = Revision(0)
        self._retry = 0

    # --- what may be believed -----------------------------------------------------------------------------------

    def believed(self, now: Instant) -> bool:
        """Whether the beacon is there as far as anyone can know."""
        return self.phase is Phase.ATTACHED and now < self.valid_until

    def seconds_of_belief(self, now: Instant) -> float:
        """How long we may go on believing without another renewal; 0 when we do not."""
        return max(0.0, self.valid_until - now) if self.phase is Phase.ATTACHED else 0.0

    # --- events -------------------------------------------------------------------------------------------------

    def start(self) -> list[Command]:
        """Begin: with a lease resumed from an earlier run, by renewing it; else by granting one."""
        if self.lease:
            self.phase = Phase.ATTACHING
            return [KeepAlive(self.lease)]
        return self._grant()

    def on_granted(self, sent_at: Instant, lease: LeaseId, ttl_seconds: int) -> list[Command]:
        """A lease was granted; ``ttl_seconds`` may exceed what was asked for."""
        self.lease, self.ttl_seconds, self._retry = lease, ttl_seconds, 0
        self.valid_until = Instant(sent_at + ttl_seconds)
        self.phase = Phase.ATTACHING
        return [Attach(lease)]

    def on_attached(self, now: Instant, revision: Revision) -> list[Command]:
        """The attach transaction took place at ``revision``."""
        self.phase, self._attached_revision, self._retry = Phase.ATTACHED, revision, 0
        return [WakeAt(self._next_renewal(now))]

    def on_kept(self, sent_at: Instant, ttl_seconds: int) -> list[Command]:
        """A renewal sent at ``sent_at`` was answered."""
        self._retry = 0
        self.valid_until = max(self.valid_until, Instant(sent_at + ttl_seconds))
        if self.phase is Phase.ATTACHING:
            return [Attach(self.lease)]
        return [WakeAt(self._next_renewal(sent_at))]

    def on_lease_lost(self) -> list[Command]:
        """etcd does not know the lease: the beacon is gone with it."""
        self.lease, self.valid_until = NO_LEASE, Instant(float("-inf"))
        return self._grant()

    def on_beacon_gone(self, revision: Revision) -> list[Command]:
        """The watch saw the beacon deleted at ``revision``; older news than our last attach is ignored."""
        if revision <= self._attached_revision:
            return []
        return self.on_beacon_missing()

    def on_beacon_missing(self) -> list[Command]:
        """A read that began after our last attach did not find the beacon, whatever its revision."""
        if self.phase is not Phase.ATTACHED:
            return []
        self.phase = Phase.ATTACHING
        # The lease may have died with it (expiry) or not (an operator's hand): renewing tells.
        return [KeepAlive(self.lease)]

    def on_failed(self, now: Instant) -> list[Command]:
        """A command failed or its outcome is unknown. Retried sooner than a renewal would be; belief runs on."""
        self._retry += 1
        if self.phase is Phase.GRANTING:
            self.phase = Phase.DETACHED
        return [WakeAt(Instant(now + min(0.1 * 2 ** min(self._retry, 10), self.ttl_seconds / 6)))]

    def on_wake(self) -> list[Command]:
        """The instant asked for has come."""
        if self.phase in {Phase.DETACHED, Phase.GRANTING}:
            return self._grant()
        return [KeepAlive(self.lease)]

    # --- parts --------------------------------------------------------------------------------------------------

    def _grant(self) -> list[Command]:
        self.phase = Phase.GRANTING
        return [Grant(self.ttl_seconds, self._shared)]

    def _next_renewal(self, since: Instant) -> Instant:
        # Three tries fit into one TTL, as etcd's own client does.
        return Instant(min(since, self.valid_until) + self.ttl_seconds / 3)
