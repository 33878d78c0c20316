"""Where the certificates of all replicas are kept, and where API servers look for whom to trust: a port."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from leasehold.control_plane.inject.certificates.material import Material


@dataclass(frozen=True, slots=True)
class Stored:
    """What is kept; ``material`` is ``None`` when there is nothing usable. ``version`` guards the next write."""

    material: Material | None
    version: str


@dataclass(frozen=True, slots=True)
class Places:
    """Where all of it is."""

    namespace: str
    service: str
    secret: str
    configuration: str


class CertificateStore(Protocol):
    """Raises ``ApiError`` for whatever could not be done, a lost race included: read again, and then decide again."""

    async def read(self) -> Stored: ...

    async def write(self, material: Material, version: str) -> Stored:
        """Put in the place of what has this version; ``""``: of nothing."""
        ...

    async def publish(self, bundle: bytes) -> bool:
        """See to it that API servers trust exactly this. Whether they did already before this call."""
        ...
