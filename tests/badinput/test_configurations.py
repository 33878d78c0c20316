"""Configuration files of both parts: every mistake with its place, before anything binds, and no secret repeated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from leasehold.control_plane.config import load_config
from leasehold.protocol.configuration import BadConfiguration
from leasehold.sidecar.config import load_settings

SIDECAR = """
tenant: t
service: s
instance: i
etcd: {endpoints: ["http://127.0.0.1:2379"]}
lease: {ttl: 15s}
host: {pid: 1}
capture: [{mode: forward-proxy, listen: "127.0.0.1:0"}]
rules: {etcd: true}
journal: journal
admin: {listen: "127.0.0.1:0"}
"""
CONTROL_PLANE = """
tenant: t
etcd: {endpoints: ["http://127.0.0.1:2379"]}
rules: {etcd: true}
http: {listen: "127.0.0.1:0"}
replica: one
brake: {fraction: 0.15}
"""
LOADERS: dict[str, Callable[[Path], object]] = {"sidecar": load_settings, "control-plane": load_config}
TEXTS = {"sidecar": SIDECAR, "control-plane": CONTROL_PLANE}

BOTH = [
    ("tenant: t", "tenant: ../t", "tenant: expected 1 to 128 letters"),
    ("tenant: t", "tenant: t/u", "tenant: expected"),
    ("tenant: t", 'tenant: "t\\nu"', "tenant: expected"),
    ("tenant: t", "tenant: [t]", "tenant: expected text"),
    ("tenant: t", "tenant: t\nsecret: x", "secret: not a field here"),
    ("127.0.0.1:2379", "127.0.0.1:2379/x", "etcd.endpoints[0]: expected http(s)://host:port"),
    ("127.0.0.1:2379", "me:hunter2@127.0.0.1:2379", "etcd.endpoints[0]: expected http(s)://host:port without a user"),
    ("127.0.0.1:2379", "127.0.0.1:99999", "etcd.endpoints[0]: expected"),
    ('["http://127.0.0.1:2379"]', "[]", "etcd.endpoints: expected at least one"),
    ('["http://127.0.0.1:2379"]', "7", "etcd.endpoints: expected a list"),
    ('2379"]', '2379"], username: u', "etcd: expected username and password_file together"),
    ('2379"]', '2379"], password: hunter2', "etcd.password: not a field here"),
    ('2379"]', '2379"], username: u, password_file: none', "etcd.password_file: cannot be read"),
    ('2379"]', '2379"], tls: {cert: c}', "etcd.tls: expected cert and key together"),
    ('2379"]', '2379"], deadline: 0s', "etcd.deadline: expected more than 0s"),
    ('2379"]', '2379"], deadline: 5', "etcd.deadline: expected a duration"),
    ("{etcd: true}", "{}", "rules: expected exactly one of"),
    ("{etcd: true}", "{etcd: true, file: x}", "rules: expected exactly one of"),
    ("{etcd: true}", "{file: none.yaml}", "none.yaml: cannot be read"),
    ("{etcd: true}", "{etcd: maybe}", "rules.etcd: expected true or false"),
    ("tenant: t", "tenant: ${NOBODY_SETS_THIS}", "tenant: expected the environment variable NOBODY_SETS_THIS"),
    ("tenant: t", "tenant: t\ntenant: u", "the key 'tenant' stands twice"),
]
ONE = [
    ("sidecar", "service: s", "service: 'a@b'", "service: expected"),
    ("sidecar", "service: s", "service: s!x", "service: expected"),
    ("sidecar", "instance: i", "instance: 'a/b'", "instance: expected"),
    ("sidecar", "instance: i", 'instance: "a\\r\\nb"', "instance: expected"),
    ("sidecar", "ttl: 15s", "ttl: 0s", "lease.ttl: expected 2s to 1d"),
    ("sidecar", "ttl: 15s", "ttl: 9999d", "lease.ttl: expected 2s to 1d"),
    ("sidecar", "{pid: 1}", "{pid: -1}", "host.pid: expected a process id"),
    ("sidecar", "{pid: 1}", "{pid: 1, tcp: {address: 'h:1'}}", "host: expected exactly one of"),
    ("sidecar", "{pid: 1}", "{http: {url: 'file:///etc/passwd'}}", "host.http.url: expected http(s)"),
    ("sidecar", "{pid: 1}", "{tcp: {address: 'h:0'}}", "host.tcp.address: expected a port"),
    ("sidecar", "mode: forward-proxy", "mode: open", "capture[0].mode: expected one of"),
    ("sidecar", "mode: forward-proxy", "mode: upstream", "capture[0].to: missing"),
    ("sidecar", "mode: forward-proxy", "mode: forward-proxy, mark: 1", "capture[0].mark: expected only"),
    ("sidecar", 'admin: {listen: "127.0.0.1:0"}', 'admin: {listen: "0.0.0.0:15020"}', "admin.listen: expected a loop"),
    ("sidecar", 'admin: {listen: "127.0.0.1:0"}', "admin: {listen: 15020}", "admin.listen: expected text"),
    ("sidecar", 'admin: {listen: "127.0.0.1:0"}', "admin: {health_port: 70000}", "admin.health_port: expected a port"),
    ("sidecar", "journal: journal", "journal: /dev/null/x", "journal: expected a folder"),
    ("sidecar", "journal: journal", "limits: {memory: lots}\njournal: j", "limits.memory: expected an amount"),
    ("control-plane", "replica: one", "replica: 'a/b'", "replica: expected"),
    ("control-plane", '"127.0.0.1:0"', '"127.0.0.1"', "http.listen: expected host:port"),
    ("control-plane", '"127.0.0.1:0"', '"127.0.0.1:99999"', "http.listen: expected host:port"),
    ("control-plane", "fraction: 0.15", "fraction: 15", "brake.fraction: expected a fraction"),
    ("control-plane", "fraction: 0.15", "fraction: .nan", "brake.fraction: expected"),
    ("control-plane", "fraction: 0.15", "fraction: -0.1", "brake.fraction: expected a fraction"),
    ("control-plane", "fraction: 0.15", "fraction: 0.15, count: -1", "brake.count: expected at least 0"),
    ("control-plane", "fraction: 0.15", "fraction: 0.15, window: 0s", "brake.window: expected 1s to 1d"),
    ("control-plane", "replica: one", "caps: {overall: 0}", "caps.overall: expected at least 1"),
    ("control-plane", "replica: one", "canary: {interval: 100ms}", "canary.interval: expected 0s"),
    ("control-plane", "replica: one", "lease: {ttl: 1s}", "lease.ttl: expected 2s to 1h"),
    ("control-plane", "replica: one", "scan_interval: 0s", "scan_interval: expected at least 1s"),
]
CASES = [(part, *case) for part in TEXTS for case in BOTH] + ONE


@pytest.mark.parametrize("part", TEXTS)
def test_the_files_that_the_cases_are_made_of_are_good(tmp_path: Path, part: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(TEXTS[part])
    LOADERS[part](file)


@pytest.mark.parametrize(("part", "what", "instead", "expected"), CASES)
def test_a_wrong_field_is_named_with_what_was_expected(
    tmp_path: Path, part: str, what: str, instead: str, expected: str
) -> None:
    assert what in TEXTS[part]
    file = tmp_path / "config.yaml"
    file.write_text(TEXTS[part].replace(what, instead, 1))
    with pytest.raises(BadConfiguration) as caught:
        LOADERS[part](file)
    assert expected in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["config.yaml"], "nothing was made"
