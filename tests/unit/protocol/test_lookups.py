"""What an owner may say about lookups and inventories, and what is refused with its place."""

from __future__ import annotations

import pytest

from leasehold.protocol.configuration import BadConfiguration
from leasehold.protocol.rules import load_rules


def load(more: str) -> list[str]:
    """The mistakes of a rule file whose owner says this besides."""
    text = f"""
owners:
  - name: store
    hosts: ["store:80"]
    endpoint: http://store:80
    delete: {{path: "/v1/{{id}}", precondition: never-reused}}
    {more}
"""
    try:
        load_rules(text, "rules.yaml", {})
    except BadConfiguration as error:
        return [str(mistake) for mistake in error.mistakes]
    return []


@pytest.mark.parametrize(
    "more",
    [
        'lookup: {path: "/v1?key={key}", id: {json: id}}',
        'lookup: {path: "/v1/{id}", key: {header: Idempotency-Key}, after: 5m}',
        'types: {blob: {lookup: {path: "/v1?key={key}", id: {json: id}, missing: "empty"}}}',
        'types: {blob: {inventory: {path: /v1, items: items, id: id}}}',
        'types: {blob: {inventory: {path: "/v1?limit=100", items: i, id: id, interval: 10m, mode: sweep, grace: 1h}}}',
        'types: {blob: {inventory: {path: /v1, items: i, id: id, provenance: {json: labels.by, equals: us}}}}',
        'types: {blob: {inventory: {path: /v1, items: i, id: id, next: {cursor: next}, brake: {fraction: 0.3}}}}',
    ],
)  # fmt: skip
def test_what_makes_sense_is_taken(more: str) -> None:
    assert load(more) == []


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ('lookup: {path: "/v1", id: {json: id}}', "lookup.path"),
        ('lookup: {path: "/v1/{key}/{key}", id: {json: id}}', "lookup.path"),
        ('lookup: {path: "//evil/{key}", id: {json: id}}', "lookup.path"),
        ('lookup: {path: "http://evil/{key}", id: {json: id}}', "lookup.path"),
        ('lookup: {path: "/v1/{key}#x", id: {json: id}}', "lookup.path"),
        ('lookup: {path: "/v1/{key}"}', "lookup.id"),
        ('lookup: {path: "/v1/{id}"}', "lookup.key"),
        ('lookup: {path: "/v1/{id}", id: {json: id}, key: {json: key}}', "lookup.id"),
        ('lookup: {path: "/v1/{key}", id: {}}', "lookup.id"),
        ('lookup: {path: "/v1/{key}", id: {json: "]"}}', "lookup.id.json"),
        ('lookup: {path: "/v1/{key}", id: {json: id}, missing: "]"}', "lookup.missing"),
        ('lookup: {path: "/v1/{key}", id: {json: id}, after: 100ms}', "lookup.after"),
        ('types: {blob: {inventory: {path: "/v1/{id}", items: i, id: id}}}', "types.blob.inventory.path"),
        ('types: {blob: {inventory: {path: /v1, items: "]", id: id}}}', "types.blob.inventory.items"),
        ('types: {blob: {inventory: {path: /v1, items: i, id: id, next: {}}}}', "types.blob.inventory.next"),
        ('types: {blob: {inventory: {path: /v1, items: i, id: id, mode: delete}}}', "types.blob.inventory.mode"),
        ('types: {blob: {inventory: {path: /v1, items: i, id: id, brake: {fraction: 1.0}}}}',
         "types.blob.inventory.brake"),
        ('types: {blob: {inventory: {path: /v1, items: i, id: id, interval: 10ms}}}', "types.blob.inventory.interval"),
        ('types: {blob: {inventory: {path: /v1, items: i, id: id, provenance: {json: a, equals: ""}}}}',
         "types.blob.inventory.provenance.equals"),
    ],
)  # fmt: skip
def test_what_makes_none_is_refused_with_its_place(more: str, where: str) -> None:
    mistakes = load(more)
    assert any(f"owners[0].{where}: " in mistake for mistake in mistakes), mistakes
