"""What the product is told: the owners' documents and the rules, as an operator would write them."""

from __future__ import annotations

from collections.abc import Mapping

from tests.chaos.crates import INTERVAL_SECONDS
from tests.chaos.owners import TIMEOUT_SECONDS
from tests.chaos.parts import Settings
from tests.chaos.rolls import descriptor_set


def write_rules(settings: Settings, credentials: str, ways: Mapping[str, str]) -> None:
    """``ways``: host and port by which the collector reaches each owner."""
    text = _OWNERS.format(
        timeout=TIMEOUT_SECONDS, credentials=credentials, schema=settings.folder / "rolls.pb", tenant=settings.tenant,
        interval=INTERVAL_SECONDS, grace=settings.grace, **ways,
    )  # fmt: skip
    for owner, rules in _RULES.items():
        text += rules.format(
            owner=owner, type=owner[:-1], grace=settings.grace, hold=settings.hold_deadline, idle=settings.idle,
            timer=settings.timer,
        )  # fmt: skip
    (settings.folder / "rules.yaml").write_text(text)
    (settings.folder / "rolls.pb").write_bytes(descriptor_set())


_OWNERS = """
owners:
  - name: blobs
    hosts: ["blobs.test"]
    endpoint: http://{blobs}
    headers: {{X-Collector: "{credentials}"}}
    delete: {{path: "/v1/blobs/{{id}}", precondition: never-reused}}
    read: {{path: "/v1/blobs/{{id}}"}}
    limits: {{timeout: {timeout}s}}
  - name: files
    hosts: ["files.test"]
    endpoint: http://{files}
    headers: {{X-Collector: "{credentials}"}}
    delete: {{path: "/v1/files/{{id}}", precondition: if-match}}
    read: {{path: "/v1/files/{{id}}", incarnation: {{json: uid}}}}
    lookup: {{path: "/v1/files/{{id}}", key: {{json: key}}, incarnation: {{json: uid}}, after: 5s}}
    limits: {{timeout: {timeout}s}}
  - name: notes
    hosts: ["notes.test"]
    endpoint: http://{notes}
    headers: {{X-Collector: "{credentials}"}}
    delete: {{path: "/v1/notes/{{id}}", precondition: never-reused}}
    limits: {{timeout: {timeout}s}}
  - name: teams
    hosts: ["teams.test"]
    endpoint: http://{teams}
    headers: {{X-Collector: "{credentials}"}}
    delete: {{path: "/v1/teams/{{id}}", precondition: never-reused}}
    limits: {{timeout: {timeout}s}}
  - name: rolls
    hosts: ["rolls.test"]
    endpoint: http://{rolls}
    headers: {{X-Collector: "{credentials}"}}
    descriptor_set: {schema}
    delete: {{grpc: {{service: rolls.v1.Rolls, method: Delete, request: {{id: "{{id}}"}}}}, precondition: never-reused}}
    read: {{grpc: {{service: rolls.v1.Rolls, method: Get, request: {{id: "{{id}}"}}}},
            incarnation: {{grpc: {{field: uid}}}}}}
    limits: {{timeout: {timeout}s}}
  - name: deeds
    hosts: ["deeds.test"]
    endpoint: http://{deeds}
    headers: {{X-Collector: "{credentials}"}}
    delete: {{path: "/v1/deeds/{{id}}", precondition: never-reused}}
    verify: {{path: "/v1/deeds/{{id}}/usage", json: "users > `0`"}}
    condemn: {{path: "/v1/deeds/{{id}}/trash"}}
    restore: {{path: "/v1/deeds/{{id}}/untrash"}}
    limits: {{timeout: {timeout}s}}
  - name: crates
    hosts: ["crates.test"]
    endpoint: http://{crates}
    headers: {{X-Collector: "{credentials}"}}
    delete: {{path: "/v1/crates/{{id}}", precondition: never-reused}}
    read: {{path: "/v1/crates/{{id}}", incarnation: {{json: uid}}}}
    types:
      crate:
        inventory: {{path: /v1/crates, items: items, id: id, incarnation: uid, interval: {interval}s, mode: sweep,
                    provenance: {{json: by, equals: {tenant}}}, next: {{cursor: next, parameter: cursor}},
                    brake: {{fraction: 0.5, count: 20}}, grace: {grace}s}}
    limits: {{timeout: {timeout}s}}
  - name: albums
    hosts: ["albums.test"]
    endpoint: http://{albums}
    headers: {{X-Collector: "{credentials}"}}
    delete: {{path: "/v1/albums/{{id}}", precondition: never-reused}}
    limits: {{timeout: {timeout}s}}
rules:
"""
_BY_POST = """
  - {{name: create-{owner}, owner: {owner}, type: {type}, on: create, mode: sweep, grace: {grace}s,
     match: {{method: POST, path: "/v1/{owner}", status: [201]}}, id: {{json: id}}, incarnation: {{json: uid}},
     hold_deadline: {hold}s, """
_BY_PUT = """
  - {{name: create-{owner}, owner: {owner}, type: {type}, on: create, held_by: process, mode: sweep, grace: {grace}s,
     match: {{method: PUT, path: "/v1/{owner}/{{id}}", status: [201]}}, id: {{path: id}}, incarnation: {{json: uid}},
     hold_deadline: {hold}s, commit: before-request, on_unavailable: reject,
     idempotency_key: {{header: Idempotency-Key}}}}
"""
_ALBUMS = """
  - {{name: create-{owner}, owner: {owner}, type: {type}, on: create, held_by: process, mode: sweep, grace: {grace}s,
     match: {{method: PUT, path: "/v1/{owner}/{{id}}", status: [200, 201]}}, id: {{path: id}},
     incarnation: {{json: uid}}, hold_deadline: {hold}s,
     references: [{{owner: blobs, type: blob, ids: blobs}}, {{owner: albums, type: album, ids: albums}}]}}
"""
_USE = """
  - {{name: use-{owner}, owner: {owner}, type: {type}, on: use, hold_deadline: {hold}s,
     match: {{method: GET, path: "/v1/{owner}/{{id}}", status: [200]}}, id: {{path: id}}, """
_DELETE = """
  - {{name: delete-{owner}, owner: {owner}, type: {type}, on: delete,
     match: {{method: DELETE, path: "/v1/{owner}/{{id}}", status: [200, 204, 404]}}, id: {{path: id}}}}
"""
_BY_GRPC = """
  - {{name: create-{owner}, owner: {owner}, type: {type}, on: create, held_by: process, mode: sweep, grace: {grace}s,
     match: {{grpc: {{service: rolls.v1.Rolls, method: Create}}}}, id: {{grpc: {{field: id}}}},
     incarnation: {{grpc: {{field: uid}}}}, hold_deadline: {hold}s}}
  - {{name: use-{owner}, owner: {owner}, type: {type}, on: use, held_by: process, idle_release: {idle}s,
     match: {{grpc: {{service: rolls.v1.Rolls, method: Get}}}}, id: {{grpc: {{field: id, from: request}}}},
     hold_deadline: {hold}s}}
  - {{name: delete-{owner}, owner: {owner}, type: {type}, on: delete,
     match: {{grpc: {{service: rolls.v1.Rolls, method: Delete}}}}, id: {{grpc: {{field: id, from: request}}}}}}
"""
_BY_PROCESS, _WHILE_USED = "held_by: process}}", "held_by: process, idle_release: {idle}s}}"
_BY_TIMER, _BY_SERVICE = "held_by: timer, ttl: {timer}s}}", "held_by: service}}"
_RULES = {
    "blobs": _BY_POST + _BY_PROCESS + _USE + _WHILE_USED + _DELETE,
    "files": _BY_PUT + _USE + _WHILE_USED + _DELETE,
    "notes": _BY_POST + _BY_TIMER + _USE + _BY_TIMER + _DELETE,
    "rolls": _BY_GRPC,
    "deeds": _BY_POST + _BY_PROCESS + _USE + _WHILE_USED + _DELETE,
    "crates": _BY_POST + _BY_PROCESS + _USE + _WHILE_USED + _DELETE,
    "albums": _ALBUMS + _USE + _WHILE_USED + _DELETE,
    "teams": _BY_POST + _BY_SERVICE + _DELETE,
}
