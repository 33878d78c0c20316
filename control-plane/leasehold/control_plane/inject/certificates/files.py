"""Certificates somebody else makes: cert-manager, or an operator. Read from a folder, and again when they change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path

import structlog

from leasehold.control_plane.inject.certificates.authority import BadCertificate, read_certificate
from leasehold.control_plane.inject.certificates.material import Certificate
from leasehold.control_plane.inject.server import BadPair
from leasehold.protocol.ports import Clock

LOOK_SECONDS = 5.0
CERTIFICATE, KEY = "tls.crt", "tls.key"
"""As in a Secret of type ``kubernetes.io/tls``."""
log = structlog.get_logger()


class CertificateFiles:
    """``serve`` is told of each new pair. A pair that is only half written does not fit, and is read again later."""

    def __init__(self, folder: Path, serve: Callable[[Certificate], Awaitable[None]], clock: Clock) -> None:
        self._folder, self._serve, self._clock = folder, serve, clock
        self._seen: tuple[bytes, bytes] | None = None
        self._in_use: Certificate | None = None
        self.trouble = "the certificate was not read yet"

    @property
    def not_after(self) -> datetime | None:
        return None if self._in_use is None else self._in_use.not_after

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.round()
            await self._clock.sleep_until(self._clock.now() + LOOK_SECONDS)

    async def round(self) -> None:
        """Look once."""
        try:
            pair = ((self._folder / CERTIFICATE).read_bytes(), (self._folder / KEY).read_bytes())
            certificate = read_certificate(*pair)
        except (OSError, BadCertificate) as error:
            return self._tell(str(error))
        if pair != self._seen:
            try:
                await self._serve(certificate)
            except BadPair as error:
                return self._tell(str(error))
            self._seen, self._in_use = pair, certificate
            log.info("certificate_in_use", until=certificate.not_after.isoformat())
        return self._tell("")

    def _tell(self, trouble: str) -> None:
        told = f"{self._folder}: {trouble}" if trouble else ""
        if told and told != self.trouble:
            log.warning("certificate_files_in_trouble", error=told)
        self.trouble = told
