"""What a pod's annotations ask for. All mistakes are found; a name that is none of ours is one, too."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from leasehold.injection.conventions import GROUP, STATUS
from leasehold.injection.host_probe import BadProbe, probe_from_text
from leasehold.injection.quantities import is_quantity
from leasehold.injection.settings import InjectSection, LogLevel, Resources, Way
from leasehold.protocol.configuration import BadConfiguration, Seconds, convert, parse_yaml
from leasehold.protocol.names import NAME_EXPECTED, is_name
from leasehold.protocol.rules import RuleSet, checked

_T = TypeVar("_T")
Operations = tuple[Mapping[str, Any], ...]

ANNOTATIONS: Mapping[str, str] = {
    f"{GROUP}/service": "the service this pod belongs to; default: its workload and namespace, `uploader.shop`",
    f"{GROUP}/container": "which container is the app, if it is not the first (or kubectl's default container)",
    f"{GROUP}/host-probe": "how the app is seen to be alive: http:8080/path, tcp:8080, grpc:9000[/service] or none; "
    "default: its livenessProbe",
    f"{GROUP}/ttl": "the lease of a process: how long silence is believed to be life, e.g. 15s",
    f"{GROUP}/service-ttl": "the same of the service as a whole, e.g. 60s",
    f"{GROUP}/capture": "transparent, or forward-proxy: no redirect and no NET_ADMIN, the app uses 127.0.0.1:15402",
    f"{GROUP}/native-sidecar": '"false": a plain container, for Kubernetes before 1.29',
    f"{GROUP}/rules": "owners and rules for this pod alone, YAML as in a rule file, beside those in force",
    f"{GROUP}/log-level": "debug, info, warning or error",
    f"{GROUP}/image": "another image for both containers",
    f"{GROUP}/cpu-request": "of the sidecar", f"{GROUP}/memory-request": "of the sidecar",
    f"{GROUP}/cpu-limit": "of the sidecar", f"{GROUP}/memory-limit": "of the sidecar",
    f"{GROUP}/patch": "a JSON patch (RFC 6902) of the sidecar's container, applied last",
}  # fmt: skip
"""Every annotation that may be written, and what it says."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """The annotations' say, completed by the settings."""

    service: str | None
    container: str | None
    image: str | None
    native: bool
    capture: Way
    resources: Resources
    ttl: Seconds
    service_ttl: Seconds
    log_level: LogLevel
    host_probe: str | None
    rules: RuleSet | None
    patch: Operations


@dataclass
class _Reader:
    """Takes annotations one by one, and keeps what was wrong."""

    annotations: Mapping[str, str]
    problems: list[str] = field(default_factory=list)

    def take(self, name: str, default: _T, parse: Callable[[str], _T]) -> _T:
        text = self.annotations.get(f"{GROUP}/{name}")
        if text is None:
            return default
        try:
            return parse(str(text))
        except ValueError as error:
            self.problems.append(f"annotation {GROUP}/{name}: {error}")
            return default


def read_wishes(annotations: Mapping[str, str], section: InjectSection) -> tuple[Wishes, list[str]]:
    """What is asked for, and every mistake. With a mistake the wish is the settings' default."""
    reader = _Reader(annotations)
    resources = msgspec.structs.replace(
        section.resources,
        **{
            name: reader.take(name.replace("_", "-"), getattr(section.resources, name), _quantity)
            for name in section.resources.__struct_fields__
        },
    )
    wishes = Wishes(
        service=reader.take("service", None, _name),
        container=reader.take("container", None, str),
        image=reader.take("image", None, _image),
        native=reader.take("native-sidecar", section.native_sidecar, _boolean),
        capture=reader.take("capture", section.capture, _way),
        resources=resources,
        ttl=reader.take("ttl", section.ttl, _ttl),
        service_ttl=reader.take("service-ttl", section.service_ttl, _ttl),
        log_level=reader.take("log-level", section.log_level, _log_level),
        host_probe=reader.take("host-probe", None, _host_probe),
        rules=reader.take("rules", None, _rules),
        patch=reader.take("patch", (), _patch),
    )
    known = {*ANNOTATIONS, STATUS}
    unknown = sorted(name for name in annotations if name.startswith(f"{GROUP}/") and name not in known)
    return wishes, [*reader.problems, *(f"annotation {name}: not one of ours" for name in unknown)]


# --- one value ----------------------------------------------------------------------------------------------------
# Each raises ``ValueError``.


def _name(text: str) -> str | None:
    if not is_name(text):
        raise ValueError(f"expected {NAME_EXPECTED}, got {text!r}")
    return text


def _image(text: str) -> str | None:
    if not text or any(character.isspace() for character in text):
        raise ValueError(f"expected an image, got {text!r}")
    return text


def _boolean(text: str) -> bool:
    return _one_of(text, {"true": True, "false": False})


def _way(text: str) -> Way:
    ways: dict[str, Way] = {"transparent": "transparent", "forward-proxy": "forward-proxy"}
    return _one_of(text, ways)


def _log_level(text: str) -> LogLevel:
    levels: dict[str, LogLevel] = {"debug": "debug", "info": "info", "warning": "warning", "error": "error"}
    return _one_of(text, levels)


def _one_of(text: str, values: Mapping[str, _T]) -> _T:
    if text not in values:
        raise ValueError(f"expected one of {', '.join(values)}, got {text!r}")
    return values[text]


def _ttl(text: str) -> Seconds:
    seconds = Seconds.parse(text)
    if not 2 <= seconds <= 86400:
        raise ValueError(f"expected 2s to 1d, got {text!r}")
    return seconds


def _quantity(text: str) -> str:
    if not is_quantity(text):
        raise ValueError(f"expected a quantity like 20m or 64Mi, got {text!r}")
    return text


def _host_probe(text: str) -> str | None:
    try:
        probe_from_text(text)
    except BadProbe as error:
        raise ValueError(str(error)) from error
    return text


def _rules(text: str) -> RuleSet | None:
    """Owners that are not said here may be among those in force."""
    try:
        found = convert(RuleSet, parse_yaml(text, "it"), "it")
        known = {owner.name for owner in found.owners}
        checked(RuleSet(found.owners, tuple(rule for rule in found.rules if rule.owner in known)), "it")
    except BadConfiguration as error:
        raise ValueError("; ".join(str(mistake).removeprefix("it: ") for mistake in error.mistakes)) from error
    if "${" in text:
        raise ValueError("expected no ${...}: nobody expands it here")
    return found


def _patch(text: str) -> Operations:
    try:
        operations = json.loads(text)
    except ValueError as error:
        raise ValueError(f"expected JSON: {error}") from error
    if not isinstance(operations, list) or not all(isinstance(one, dict) and "op" in one for one in operations):
        raise ValueError("expected a list of operations such as "
                         '[{"op": "add", "path": "/env/-", "value": {"name": "A", "value": "b"}}]')  # fmt: skip
    if any(str(one.get("path", "")) in {"", "/name"} for one in operations):
        raise ValueError("expected paths below the sidecar's container, and its name left alone")
    return tuple(operations)
