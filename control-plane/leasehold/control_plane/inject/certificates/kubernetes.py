"""A ``CertificateStore`` in Kubernetes: one Secret, and the ``caBundle`` of our webhook configurations.

The Secret may have been made empty by whoever installed us, so that we need not be allowed to make any.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import structlog

from leasehold.control_plane.inject.certificates.authority import BadCertificate, read_certificate
from leasehold.control_plane.inject.certificates.material import Certificate, Material
from leasehold.control_plane.inject.certificates.store import Places, Stored
from leasehold.control_plane.kubernetes.api_server import ApiServer, NotThere
from leasehold.injection.pod import listing, mapping

KINDS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
_PARTS = {"current": "ca", "upcoming": "next-ca", "former": "former-ca", "serving": "tls"}
"""Names in the Secret: ``ca.crt`` and ``ca.key``, and so on."""
log = structlog.get_logger()


class KubernetesCertificates:
    """The adapter."""

    def __init__(self, api: ApiServer, places: Places) -> None:
        self._api, self._places = api, places
        self._secrets = f"/api/v1/namespaces/{places.namespace}/secrets"

    async def read(self) -> Stored:
        try:
            found = await self._api.get(f"{self._secrets}/{self._places.secret}")
        except NotThere:
            return Stored(None, "")
        return Stored(_material(mapping(found.get("data"))), str(mapping(found.get("metadata")).get("resourceVersion")))

    async def write(self, material: Material, version: str) -> Stored:
        document: dict[str, Any] = {
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": _data(material),
            "metadata": {"name": self._places.secret, "namespace": self._places.namespace},
        }  # fmt: skip
        if not version:
            written = await self._api.create(self._secrets, document)
        else:
            # What others put there (labels, owners) stays.
            path = f"{self._secrets}/{self._places.secret}"
            there = await self._api.get(path)
            metadata = {**mapping(there.get("metadata")), "resourceVersion": version}
            written = await self._api.replace(path, {**there, "data": document["data"], "metadata": metadata})
        return Stored(material, str(mapping(written.get("metadata")).get("resourceVersion")))

    async def publish(self, bundle: bytes) -> bool:
        """Both kinds of configurations that carry our name, as far as they are there."""
        encoded = base64.b64encode(bundle).decode()
        seen = [await self._publish(kind, encoded) for kind in KINDS]
        if not any(there for there, _ in seen):
            log.warning("webhook_configuration_missing", name=self._places.configuration)
        return any(there for there, _ in seen) and all(was_so for _, was_so in seen)

    async def _publish(self, kind: str, encoded: str) -> tuple[bool, bool]:
        path = f"/apis/admissionregistration.k8s.io/v1/{kind}/{self._places.configuration}"
        try:
            found = await self._api.get(path)
        except NotThere:
            return False, True
        stale = [
            n
            for n, webhook in enumerate(listing(found.get("webhooks")))
            if self._is_ours(webhook) and mapping(webhook.get("clientConfig")).get("caBundle") != encoded
        ]
        if stale:
            version = mapping(found.get("metadata")).get("resourceVersion")
            operations = [{"op": "test", "path": "/metadata/resourceVersion", "value": version}]
            operations += [
                {"op": "add", "path": f"/webhooks/{n}/clientConfig/caBundle", "value": encoded} for n in stale
            ]
            await self._api.patch(path, operations)
            log.info("authorities_published", kind=kind, webhooks=len(stale))
        return True, not stale

    def _is_ours(self, webhook: Mapping[str, Any]) -> bool:
        service = mapping(mapping(webhook.get("clientConfig")).get("service"))
        return (service.get("namespace"), service.get("name")) == (self._places.namespace, self._places.service)


def _data(material: Material) -> dict[str, str]:
    data = {}
    for field, name in _PARTS.items():
        part: Certificate | None = getattr(material, field)
        if part is not None:
            data[f"{name}.crt"] = base64.b64encode(part.pem).decode()
            if field != "former":  # it signs nothing any more
                data[f"{name}.key"] = base64.b64encode(part.key).decode()
    return data


def _material(data: Mapping[str, Any]) -> Material | None:
    """Whatever somebody else wrote there is as good as nothing, and is said."""
    try:
        parts = {field: _part(data, name) for field, name in _PARTS.items()}
    except (binascii.Error, ValueError, BadCertificate) as error:
        log.error("stored_certificates_unusable", error=str(error))
        return None
    current, serving = parts["current"], parts["serving"]
    if current is None or serving is None or not current.key or not serving.key:
        return None
    return Material(current, serving, parts["upcoming"], parts["former"])


def _part(data: Mapping[str, Any], name: str) -> Certificate | None:
    if not data.get(f"{name}.crt"):
        return None
    pem, key = (base64.b64decode(str(data.get(f"{name}.{end}") or ""), validate=True) for end in ("crt", "key"))
    return read_certificate(pem, key)
