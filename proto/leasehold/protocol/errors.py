"""Everything that can go wrong between us and the store, as types somebody branches on.

One class per decision a caller can take. gRPC statuses and socket errors are translated here once, at the edge
(``etcd.translation``), with their cause chained; nobody above it sees a grpclib exception.
"""

from __future__ import annotations


class LeaseholdError(Exception):
    """Root of what Leasehold raises on purpose."""


class StoreError(LeaseholdError):
    """A call to the store did not succeed. ``str()`` names the call, the endpoint and what etcd said."""


class Unavailable(StoreError):
    """Nothing was done: no endpoint could be reached, or etcd refused before doing anything. Safe to retry."""


class Uncertain(StoreError):
    """The call may or may not have taken effect (deadline, reset, leader change). Read back before repeating."""


class Compacted(StoreError):
    """The revision asked for is gone: list again, then watch from there.

    ``compact_revision`` is the oldest one left, where etcd says it (watches); else 0.
    """

    def __init__(self, message: str, compact_revision: int) -> None:
        super().__init__(message)
        self.compact_revision = compact_revision


class LeaseNotFound(StoreError):
    """The lease has expired, was revoked or never existed. What hung on it is gone; grant anew."""


class LeaseExists(StoreError):
    """A lease with the requested id exists already. For a service holder that is the normal case: use it."""


class NoSpace(StoreError):
    """etcd's space quota is reached (NOSPACE alarm): reads work, writes do not. Nothing was done."""


class AccessDenied(StoreError):
    """Authentication or permission failed, also after a token renewal. Retrying does not help."""


class Rejected(StoreError):
    """etcd refused the request as malformed (too many operations, duplicate key, too large). A bug of ours."""
