"""The definitions of our kinds, generated from the model: ``python -m leasehold.control_plane.kubernetes.crds FOLDER``.

The checks across fields (CEL) are those that are cheap to say; all others are made by the admission review and by the
controller, on the model itself. Each says what the model's own check says.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from leasehold.control_plane.kubernetes.kinds import GROUP, KINDS, OWNER, RULE, VERSION, Kind
from leasehold.control_plane.kubernetes.schema import Check, Extras, schema_of
from leasehold.protocol.lookups import Brake, Inventory, Shown
from leasehold.protocol.rules import Auth, DeleteCall, GrpcMatch, Match, Owner, ReadCall, Rule, Source, Tls, VerifyCall
from leasehold.protocol.rules.owners import Limits

_EITHER_CALL = Check("has(self.path) != has(self.grpc)", "expected exactly one of path and grpc")
_CHECKS: Mapping[type, Sequence[Check]] = {
    Owner: (
        Check("size(self.hosts) > 0", "hosts: expected at least one authority or address, e.g. blobs.internal:8080"),
        Check(
            "!(has(self.auth) && has(self.bearer_token_file))",
            "auth: expected only one of auth and bearer_token_file",
        ),
        Check(
            "!has(self.delete) || !has(self.delete.precondition) || self.delete.precondition != 'if-match'"
            " || has(self.read)",
            "delete.precondition: if-match needs to look first: expected a read beside the delete",
        ),
        Check(
            "has(self.condemn) == has(self.restore)",
            "expected condemn and restore beside each other: what is condemned may be needed again",
        ),
    ),
    Auth: (
        Check(
            "[has(self.basic), has(self.oauth2), has(self.aws)].exists_one(given, given)",
            "expected exactly one of basic, oauth2, aws",
        ),
    ),
    Tls: (Check("!has(self.key) || has(self.cert)", "key: expected a cert beside the key"),),
    DeleteCall: (_EITHER_CALL,),
    ReadCall: (
        _EITHER_CALL,
        Check(
            "!has(self.etag) || has(self.grpc)",
            "etag: an HTTP answer has its ETag header: expected only beside grpc",
        ),
    ),
    VerifyCall: (
        Check(
            "has(self.json) || (has(self.in_use) && has(self.not_in_use))",
            "expected json, or both in_use and not_in_use: one answer alone could never keep, or never end",
        ),
    ),
    Shown: (Check("has(self.json) != has(self.header)", "expected exactly one of json and header"),),
    Source: (
        Check(
            "[has(self.json), has(self.header), has(self.path), has(self.grpc)].exists_one(given, given)",
            "expected exactly one of json, header, path, grpc",
        ),
        Check("!has(self.pattern) || has(self.header)", "pattern: expected only beside header"),
    ),
    Match: (
        Check(
            "has(self.grpc) ? !has(self.path) && !has(self.status) : has(self.path) && has(self.status)",
            "expected either grpc, or method, path and status",
        ),
    ),
    Rule: (
        Check(
            "self.on == 'delete' || has(self.held_by)",
            "held_by: missing; expected one of: process, service, timer (there is no default)",
        ),
        Check(
            "self.on != 'delete' || !has(self.held_by)",
            "held_by: a deletion holds nothing: expected no held_by",
        ),
        Check(
            "!has(self.held_by) || self.held_by != 'timer' || has(self.ttl)",
            "ttl: missing; held_by: timer expects how long, e.g. ttl: 24h",
        ),
        Check(
            "!has(self.ttl) || (has(self.held_by) && self.held_by == 'timer')",
            "ttl: expected only beside held_by: timer",
        ),
        Check(
            "!has(self.on_unavailable) || self.on_unavailable != 'reject'"
            " || (has(self.commit) && self.commit == 'before-request')",
            "on_unavailable: reject is only possible before the request left: expected commit: before-request",
        ),
        Check(
            "!has(self.idempotency_key)"
            " || (self.on == 'create' && has(self.commit) && self.commit == 'before-request')",
            "idempotency_key: only an intent has one: expected on: create and commit: before-request beside it",
        ),
    ),
}  # fmt: skip
_STATUSES = {"items": {"type": "integer", "format": "int64", "minimum": 200, "maximum": 599}}
_EXTRAS = Extras(
    _CHECKS,
    {
        (Owner, "types"): {"maxProperties": 64},
        (Match, "status"): {"minItems": 1, **_STATUSES},
        (GrpcMatch, "status"): {
            "minItems": 1,
            "items": {"type": "integer", "format": "int64", "minimum": 0, "maximum": 16},
        },
        (Rule, "body_limit"): {"minimum": 1, "maximum": 16 * 1024 * 1024},
        (Limits, "concurrency"): {"minimum": 1},
        (Inventory, "mode"): {"enum": ["observe", "condemn", "sweep"]},
        (Brake, "count"): {"minimum": 0},
    },
)
UNQUOTED_ON = "true"
"""What YAML 1.1, and so kubectl, makes of the key ``on`` without quotes. An enumeration's values stand in the API
server's answer, checks in CEL do not while something required is missing."""
_MEANT: dict[str, Any] = {"type": "string", "enum": ['nothing: it was on, and must be written with quotes: "on"']}
_ACCEPTED = '.status.conditions[?(@.type=="Accepted")]'
_COLUMNS = {
    OWNER.name: (("Endpoint", ".spec.endpoint"),),
    RULE.name: (("Owner", ".spec.owner"), ("Type", ".spec.type"), ("On", ".spec.on"), ("Mode", ".spec.mode")),
}
_SHORT = {OWNER.name: "lho", RULE.name: "lhr"}
_STATUS: dict[str, Any] = {
    "type": "object",
    "description": "What the control plane says of this object.",
    "properties": {
        "observedGeneration": {"type": "integer", "format": "int64"},
        "conditions": {
            "type": "array",
            "description": "Accepted: whether it is in force as it stands; if not, why, and what is in force instead.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": {
                "type": "object",
                "required": ["type", "status", "reason", "message", "lastTransitionTime"],
                "properties": {
                    "type": {"type": "string"},
                    "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                    "reason": {"type": "string"},
                    "message": {"type": "string"},
                    "observedGeneration": {"type": "integer", "format": "int64"},
                    "lastTransitionTime": {"type": "string", "format": "date-time"},
                },
            },
        },
    },
}


def crd(kind: Kind) -> dict[str, Any]:
    """The definition of one kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/part-of": "leasehold"},
            # Taking the chart away must not take every rule away with it.
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [_SHORT[kind.name]],
                "categories": ["leasehold"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(kind),
                    "schema": {"openAPIV3Schema": _schema(kind)},
                }
            ],
        },
    }


def _schema(kind: Kind) -> dict[str, Any]:
    spec = schema_of(kind.model, _EXTRAS, without=frozenset({"name"}))
    if kind is RULE:
        spec["properties"][UNQUOTED_ON] = _MEANT
    return {
        "type": "object",
        "description": f"{spec['description']} Its name is metadata.name.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": _STATUS,
        },
        "x-kubernetes-validations": [
            {"rule": "size(self.metadata.name) <= 128", "message": "metadata.name: expected at most 128 characters"}
        ],
    }


def _columns(kind: Kind) -> list[dict[str, Any]]:
    columns: list[dict[str, Any]] = [
        {"name": name, "type": "string", "jsonPath": path}
        for name, path in (*_COLUMNS[kind.name], ("Accepted", f"{_ACCEPTED}.status"))
    ]
    columns.append({"name": "Message", "type": "string", "jsonPath": f"{_ACCEPTED}.message", "priority": 1})
    return [*columns, {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]


class _Plain(yaml.SafeDumper):
    """Without anchors: the same check stands in several places."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's protocol
        return True


def as_yaml(kind: Kind) -> str:
    """A definition as its file; always the same text for the same model."""
    text = yaml.dump(crd(kind), Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)
    return f"# Made by `make crds` from the model of the rule file. Do not edit.\n{text}"


def main(folder: Path) -> None:
    """Write all of them."""
    for kind in KINDS:
        (folder / f"{kind.plural}.yaml").write_text(as_yaml(kind), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
