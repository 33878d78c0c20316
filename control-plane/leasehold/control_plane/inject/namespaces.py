"""The labels of namespaces: asked of the API server, and remembered for a moment.

The review does not bring them. Without them it is not known whether a namespace asks for injection, nor whether its pod
security would reject what is injected: so whoever cannot be asked about is not injected into.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote

from leasehold.control_plane.kubernetes.api_server import ApiServer
from leasehold.injection.conventions import NAMESPACE_LABEL, REVISION_LABEL
from leasehold.injection.pod import mapping
from leasehold.protocol.ports import Clock

REMEMBERED_SECONDS = 5.0
MOST_REMEMBERED = 4096


class Namespaces(Protocol):
    """Who knows labels."""

    async def labels(self, name: str) -> Mapping[str, str]:
        """Raises ``ApiError``."""
        ...


class AskedNamespaces:
    """Asks the API server."""

    def __init__(self, api: ApiServer, clock: Clock) -> None:
        self._api, self._clock = api, clock
        self._known: dict[str, tuple[float, Mapping[str, str]]] = {}

    async def labels(self, name: str) -> Mapping[str, str]:
        now = self._clock.now()
        known = self._known.get(name)
        if known is not None and now < known[0]:
            return known[1]
        found = await self._api.get(f"/api/v1/namespaces/{quote(name, safe='')}")
        labels = {str(key): str(value) for key, value in mapping(mapping(found.get("metadata")).get("labels")).items()}
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[name] = (now + REMEMBERED_SECONDS, labels)
        return labels


class TrustedSelectors:
    """Without an API server to ask: whoever was sent to us is taken to be selected by the webhook's configuration.

    Pod security is not known then; the selector must leave out namespaces that enforce it.
    """

    def __init__(self, revision: str) -> None:
        self._labels = {NAMESPACE_LABEL: "enabled", REVISION_LABEL: revision}

    async def labels(self, name: str) -> Mapping[str, str]:
        del name
        return self._labels
