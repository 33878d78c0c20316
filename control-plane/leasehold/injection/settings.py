"""What an operator decides about all injected pods: the ``inject:`` section of the control plane's configuration."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from leasehold.injection.quantities import is_quantity
from leasehold.protocol.configuration import Seconds
from leasehold.protocol.names import NAME_EXPECTED, is_name

Way = Literal["transparent", "forward-proxy"]
LogLevel = Literal["debug", "info", "warning", "error"]
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
IMAGE_NAME = "leasehold/sidecar"
DNS_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_ENDPOINT = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+)(:[0-9]{1,5})?/?")

_LOOPBACK = re.compile(r"https?://(localhost|127\.[0-9.]+|\[::1\])(:|/|$)")


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class EtcdAccess(_Section, frozen=True):
    """How sidecars reach etcd. ``secret`` is in the *pod's* namespace: ``ca.crt``, for ``tls: mutual`` also ``tls.crt``
    and ``tls.key``, beside a ``username`` also ``password``."""

    endpoints: tuple[str, ...] = ()
    tls: Literal["none", "server", "mutual"] = "none"
    secret: str | None = None
    username: str | None = None


class Resources(_Section, frozen=True):
    """Of the sidecar. No limit of CPU: a throttled relay is a slow app."""

    cpu_request: str = "20m"
    memory_request: str = "64Mi"
    cpu_limit: str | None = None
    memory_limit: str | None = "256Mi"


class InjectSection(_Section, frozen=True):
    """As written. Without ``image`` it is the one of our own version.

    ``control_plane``: ``host:port`` never to be redirected. ``token_audience``: whom the service account's
    projected token is for, ``""`` for none. ``labels``: of the pod, told in the sidecar's log lines.
    """

    image: str | None = None
    pull_policy: PullPolicy = "IfNotPresent"
    etcd: EtcdAccess = EtcdAccess()
    namespace: str = "leasehold-system"
    revision: str = "default"
    control_plane: tuple[str, ...] = ()
    native_sidecar: bool = True
    capture: Way = "transparent"
    uid: int = 15015
    gid: int = 15015
    resources: Resources = Resources()
    ttl: Seconds = Seconds(15.0)
    service_ttl: Seconds = Seconds(60.0)
    log_level: LogLevel = "info"
    journal_size: str = "64Mi"
    token_audience: str = "leasehold"  # noqa: S105 - a name
    labels: tuple[str, ...] = ("app.kubernetes.io/version",)

    def nonsense(self) -> Iterator[tuple[str, str]]:
        """Path and problem of each mistake that the types cannot tell."""
        yield from _names_nonsense(self)
        yield from _etcd_nonsense(self.etcd)
        for field, least in (("uid", 1), ("gid", 1)):
            value = getattr(self, field)
            if not least <= value < 2**31:
                yield f"inject.{field}", f"expected {least} to {2**31 - 1}: root is no user of its own, got {value}"
        for field, text in (("journal_size", self.journal_size), *_quantities(self.resources)):
            if text is not None and not is_quantity(text):
                yield f"inject.{field}", f"expected a quantity like 20m or 64Mi, got {text!r}"
        for field, ttl in (("ttl", self.ttl), ("service_ttl", self.service_ttl)):
            if not 2 <= ttl <= 86400:
                yield f"inject.{field}", f"expected 2s to 1d, got {ttl}"


def _names_nonsense(section: InjectSection) -> Iterator[tuple[str, str]]:
    for field, name in (("namespace", section.namespace), ("revision", section.revision)):
        if re.fullmatch(DNS_LABEL, name) is None:
            yield f"inject.{field}", f"expected lower-case letters, digits and '-', got {name!r}"
    if section.image is not None and not re.fullmatch(r"[^\s]+", section.image):
        yield "inject.image", f"expected an image, got {section.image!r}"


def _etcd_nonsense(etcd: EtcdAccess) -> Iterator[tuple[str, str]]:
    for n, endpoint in enumerate(etcd.endpoints):
        if _ENDPOINT.fullmatch(endpoint) is None:
            yield f"inject.etcd.endpoints[{n}]", f"expected http(s)://host:port, got {endpoint!r}"
        elif etcd.tls != "none" and endpoint.startswith("http:"):
            yield f"inject.etcd.endpoints[{n}]", f"expected https beside tls: {etcd.tls}, got {endpoint!r}"
    if etcd.secret is None and (etcd.tls != "none" or etcd.username is not None):
        yield "inject.etcd.secret", "missing; tls and username expect the name of a secret in the pod's namespace"


def _quantities(resources: Resources) -> Iterator[tuple[str, str | None]]:
    for field in resources.__struct_fields__:
        yield f"resources.{field}", getattr(resources, field)


class Settings(msgspec.Struct, frozen=True):
    """What the injection needs: the section, complete, and who injects for whom."""

    section: InjectSection
    version: str
    tenant: str = "default"

    @property
    def image(self) -> str:
        return self.section.image or f"{IMAGE_NAME}:{self.version}"

    @property
    def template_hash(self) -> str:
        """What tells sidecars of these settings and this version from older ones."""
        return hashlib.sha256(msgspec.json.encode(self, enc_hook=str, order="deterministic")).hexdigest()[:16]


ON_LOOPBACK = "its sidecar looks for etcd on a loopback address, which in a pod is the pod itself"


def all_on_loopback(endpoints: Sequence[object]) -> bool:
    """Whether nobody but whoever asks could be there. Nothing at all is not."""
    return bool(endpoints) and all(_LOOPBACK.match(str(endpoint)) for endpoint in endpoints)


def settings_nonsense(settings: Settings) -> Iterator[tuple[str, str]]:
    """The section's, and what it needs from elsewhere."""
    yield from settings.section.nonsense()
    if not settings.section.etcd.endpoints:
        yield "inject.etcd.endpoints", "missing; expected where sidecars reach etcd"
    if not is_name(settings.tenant):
        yield "tenant", f"expected {NAME_EXPECTED}, got {settings.tenant!r}"
