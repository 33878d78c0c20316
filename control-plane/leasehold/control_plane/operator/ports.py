"""What the operator API needs of the control plane around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from leasehold import v1
from leasehold.protocol.ports import Leases, Store


class EtcdPort(Store, Leases, Protocol):
    """Reads, transactions and leases."""


class PlanePort(Protocol):
    """What only the running parts know."""

    @property
    def revision(self) -> int:
        """Up to which the index goes."""
        ...

    @property
    def current(self) -> bool:
        """Whether the index is."""
        ...

    def suspects(self) -> int:
        """Calls nobody can tell the outcome of."""
        ...

    def brake(self) -> v1.BrakeStatusResponse:
        """As it stands."""
        ...

    def calling(self) -> Mapping[str, str]:
        """By owner: whether it is called."""
        ...
