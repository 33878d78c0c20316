"""A configuration is used as a whole or refused with every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leasehold.protocol.configuration import BadConfiguration
from leasehold.sidecar.capture.dialler import OwnerTls
from leasehold.sidecar.capture.listener import Address
from leasehold.sidecar.config import Capture, Limits, Settings, load_settings
from leasehold.sidecar.document import GrpcProbe, HttpProbe

RULES = """
owners: [{name: store, hosts: ["store:80"], endpoint: "http://store"}]
rules:
  - {name: make, owner: store, type: blob, on: create, held_by: process, id: {json: id},
     match: {method: POST, path: /v1/blobs, status: [201]}}
"""
GOOD = """
tenant: default
service: media-pipeline
instance: ${HOSTNAME}-1
etcd: {endpoints: ["http://127.0.0.1:2379"]}
lease: {ttl: 15s, service_ttl: 60s}
host: {pid: 4242}
capture:
  - {mode: upstream, listen: "127.0.0.1:15080", to: "127.0.0.1:9000"}
  - {mode: forward-proxy, listen: "[::1]:0"}
rules: {file: rules.yaml}
journal: journal
admin: {listen: "127.0.0.1:15020"}
"""


def load(folder: Path, text: str, rules: str = RULES, **environment: str) -> Settings:
    (folder / "rules.yaml").write_text(rules)
    (folder / "sidecar.yaml").write_text(text)
    return load_settings(folder / "sidecar.yaml", environment)


def mistakes(folder: Path, text: str, rules: str = RULES) -> dict[str, str]:
    with pytest.raises(BadConfiguration) as raised:
        load(folder, text, rules)
    return {mistake.path: mistake.problem for mistake in raised.value.mistakes}


def test_a_whole_configuration(tmp_path: Path) -> None:
    settings = load(tmp_path, GOOD, HOSTNAME="box")
    assert settings.instance == "box-1"
    assert (settings.ttl_seconds, settings.service_ttl_seconds) == (15, 60)
    assert settings.host == 4242
    assert settings.capture == (
        Capture("upstream", Address("127.0.0.1", 15080), Address("127.0.0.1", 9000)),
        Capture("forward-proxy", Address("::1", 0)),
    )
    assert settings.rules is not None
    assert settings.rules.rules[0].name == "make"
    assert settings.journal == tmp_path / "journal"


def test_ways_in_may_speak_tls_carry_a_mark_and_be_limited(tmp_path: Path) -> None:
    for name in ("ca.pem", "me.pem", "me.key"):
        (tmp_path / name).touch()
    text = GOOD.replace(
        '"127.0.0.1:9000"}', '"127.0.0.1:9000", tls: {ca: ca.pem, cert: me.pem, key: me.key, alpn: [h2]}}'
    ).replace(
        '{mode: forward-proxy, listen: "[::1]:0"}', '{mode: transparent, listen: "[::1]:15001", mark: 0x7, tls: {}}'
    )
    settings = load(tmp_path, text.replace("0x7", "7") + "limits: {connections: 100, memory: 2MiB}\n")
    files = (str(tmp_path / name) for name in ("ca.pem", "me.pem", "me.key"))
    assert settings.capture == (
        Capture("upstream", Address("127.0.0.1", 15080), Address("127.0.0.1", 9000), OwnerTls(*files, alpn=("h2",))),
        Capture("transparent", Address("::1", 15001), None, OwnerTls(), 7),
    )
    assert settings.limits == Limits(100, 2 * 1024 * 1024)
    assert load(tmp_path, GOOD).limits == Limits(8_192, 64 * 1024 * 1024)


def test_an_instance_is_the_hostname_unless_said(tmp_path: Path) -> None:
    text = GOOD.replace("instance: ${HOSTNAME}-1\n", "")
    assert load(tmp_path, text).instance
    assert load(tmp_path, GOOD).instance.endswith("-1"), "HOSTNAME is known even where no shell exported it"


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ('{http: {url: "http://127.0.0.1:8080/healthz", interval: 1s, failures: 2}}', HttpProbe),
        ('{grpc: {address: "127.0.0.1:50051", service: a.B}}', GrpcProbe),
    ],
)
def test_a_host_may_be_probed(tmp_path: Path, host: str, kind: type) -> None:
    settings = load(tmp_path, GOOD.replace("{pid: 4242}", host))
    assert isinstance(settings.host, kind)


@pytest.mark.parametrize(
    ("good", "bad", "where"),
    [
        ("tenant: default", "tenant: a/b", "tenant"),
        ("service: media-pipeline", "service: 'a b'", "service"),
        ("service: media-pipeline\n", "", "service"),
        ("instance: ${HOSTNAME}-1", "instance: a@b", "instance"),
        ("http://127.0.0.1:2379", "127.0.0.1:2379", "etcd.endpoints[0]"),
        ('["http://127.0.0.1:2379"]', "[]", "etcd.endpoints"),
        ('["http://127.0.0.1:2379"]}', '["http://127.0.0.1:2379"], username: me}', "etcd"),
        ('["http://127.0.0.1:2379"]}', '["https://e:1"], tls: {ca: /nowhere}}', "etcd.tls.ca"),
        ("ttl: 15s, ", "ttl: 1s, ", "lease.ttl"),
        ("ttl: 15s, ", "ttl: 15, ", "lease.ttl"),
        ("service_ttl: 60s", "service_ttl: 2d", "lease.service_ttl"),
        ("{pid: 4242}", "{}", "host"),
        ("{pid: 4242}", '{pid: 1, tcp: {address: "a:1"}}', "host"),
        ("{pid: 4242}", "{pid: 0}", "host.pid"),
        ("{pid: 4242}", '{tcp: {address: "a"}}', "host.tcp.address"),
        ("{pid: 4242}", '{http: {url: "ftp://x"}}', "host.http.url"),
        ("{pid: 4242}", '{http: {url: "http://x/", failures: 0}}', "host.http.failures"),
        ('"127.0.0.1:15080"', '"15080"', "capture[0].listen"),
        ("127.0.0.1:15080", "127.0.0.1:70000", "capture[0].listen"),
        (', to: "127.0.0.1:9000"', "", "capture[0].to"),
        ("127.0.0.1:9000", "127.0.0.1:0", "capture[0].to"),
        ('"[::1]:0"', '"[::1]:0", to: "a:1"', "capture[1].to"),
        ('"[::1]:0"', '"127.0.0.1:15080"', "capture[1].listen"),
        ("forward-proxy", "backward", "capture[1].mode"),
        ("forward-proxy", 'transparent, to: "a:1"', "capture[1].to"),
        ("forward-proxy", "forward-proxy, tls: {}", "capture[1].tls"),
        ("forward-proxy", "forward-proxy, mark: 1", "capture[1].mark"),
        ("forward-proxy", "transparent, mark: 0", "capture[1].mark"),
        ("forward-proxy", "transparent, tls: {ca: nowhere.pem}", "capture[1].tls.ca"),
        ("forward-proxy", "transparent, tls: {cert: rules.yaml}", "capture[1].tls"),
        ("forward-proxy", 'transparent, tls: {alpn: [""]}', "capture[1].tls.alpn"),
        ("tenant: default", "limits: {connections: 0}", "limits.connections"),
        ("tenant: default", "limits: {memory: 64MB}", "limits.memory"),
        ("tenant: default", "limits: {memory: 0MiB}", "limits.memory"),
        ("{file: rules.yaml}", "{}", "rules"),
        ("{file: rules.yaml}", "{file: rules.yaml, etcd: true}", "rules"),
        ("journal: journal", "journal: sidecar.yaml", "journal"),
        ("journal: journal\n", "", "journal"),
        ('admin: {listen: "127.0.0.1:15020"}', "admin: {listen: here}", "admin.listen"),
        ("tenant: default", "tenants: default", "tenants"),
    ],
)
def test_each_mistake_is_told_where_it_is(tmp_path: Path, good: str, bad: str, where: str) -> None:
    assert good in GOOD
    found = mistakes(tmp_path, GOOD.replace(good, bad))
    assert list(found) == [where], found


def test_mistakes_of_form_hide_no_mistakes_of_meaning(tmp_path: Path) -> None:
    text = GOOD.replace("tenant: default", "tenant: a/b\nnonsense: 1").replace("ttl: 15s, ", "ttl: soon, ")
    text = text.replace("{pid: 4242}", "{pid: many, tcp: {address: nowhere}}").replace('"http://127.0.0.1:2379"', "")
    found = mistakes(tmp_path, text, RULES.replace("held_by: process, ", ""))
    assert set(found) == {
        "nonsense", "lease.ttl", "host.pid", "tenant", "host.tcp.address", "etcd.endpoints", "rules[0].held_by",
    }  # fmt: skip


def test_a_rule_file_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD.replace("rules.yaml", "other.yaml"))
    assert "cannot be read" in found[""]


def test_a_variable_that_is_not_set_is_a_mistake(tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD.replace("tenant: default", "tenant: ${NO_SUCH_VARIABLE}"))
    assert "NO_SUCH_VARIABLE" in found["tenant"]


@pytest.mark.parametrize("text", ["", "[1]", "a: [", "tenant: {a: {b: [c]}}", "capture: [[[]]]", "null"])
def test_any_text_is_refused_without_a_crash(tmp_path: Path, text: str) -> None:
    assert mistakes(tmp_path, text)


def test_a_journal_below_what_is_no_folder_is_a_mistake(tmp_path: Path) -> None:
    assert "journal" in mistakes(tmp_path, GOOD.replace("journal: journal", "journal: rules.yaml/below"))


INJECTED = """
service: maker.shop
instance: ${LEASEHOLD_POD_NAME}
etcd: {endpoints: ["http://etcd:2379"]}
host: {http: {url: "http://${LEASEHOLD_POD_HOST}:8080/live"}, ends_first: true}
capture: [{mode: transparent, listen: "[::1]:15001", if_present: true}]
rules:
  etcd: true
  extra:
    rules:
      - {name: mine, owner: store, type: blob, on: delete, id: {path: id},
         match: {method: DELETE, path: "/v1/{id}", status: [204]}}
journal: /tmp
admin: {health_port: 15021}
about: {pod: "${LEASEHOLD_POD_NAME}"}
"""


@pytest.mark.parametrize(("ip", "host"), [("10.1.2.3", "10.1.2.3"), ("fd00::3", "[fd00::3]")])
def test_a_configuration_may_come_from_a_variable_and_know_its_pod(ip: str, host: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("LEASEHOLD_CONFIG", INJECTED)
    settings = load_settings(Path("env:LEASEHOLD_CONFIG"), {"LEASEHOLD_POD_NAME": "maker-7", "LEASEHOLD_POD_IP": ip})
    assert isinstance(settings.host, HttpProbe)
    assert settings.host.url == f"http://{host}:8080/live"
    assert (settings.instance, settings.about, settings.health_port) == (
        "maker-7",
        {"pod": "maker-7"},
        15021,
    )
    assert settings.ends_first
    assert settings.capture[0].if_present
    assert settings.extra_rules is not None
    assert settings.extra_rules.rules[0].name == "mine"


def test_a_variable_that_is_not_set_is_told() -> None:
    with pytest.raises(BadConfiguration, match="env:NOWHERE: cannot be read: that variable is not set"):
        load_settings(Path("env:NOWHERE"), {})


def test_what_ends_first_needs_no_probe_and_no_pid(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD.replace("{pid: 4242}", "{ends_first: true}")).host is None
    found = mistakes(tmp_path, GOOD.replace("{pid: 4242}", "{pid: 4242, ends_first: true}"))
    assert "by itself" in found["host.ends_first"]


def test_extra_rules_are_checked_like_all_others(tmp_path: Path) -> None:
    owner = '{name: store, hosts: ["store:80"], endpoint: "http://store"}'
    rule = (
        "{name: make, owner: store, type: blob, on: create, id: {json: id}, match: {method: GET, path: /, status: [1]}}"
    )
    found = mistakes(
        tmp_path, GOOD.replace("{file: rules.yaml}", f"{{etcd: true, extra: {{owners: [{owner}], rules: [{rule}]}}}}")
    )
    assert set(found) == {"rules.extra.rules[0].held_by", "rules.extra.rules[0].match.status[0]"}


@pytest.mark.parametrize("listen", ["0.0.0.0:15020", "[::]:15020", "10.1.2.3:0", "example.internal:15020"])
def test_what_is_held_is_told_to_this_machine_alone_unless_somebody_says_otherwise(tmp_path: Path, listen: str) -> None:
    (tmp_path / "rules.yaml").write_text("{}")
    text = f"""
service: s
etcd: {{endpoints: ["http://127.0.0.1:2379"]}}
host: {{pid: 1}}
capture: [{{mode: forward-proxy, listen: "127.0.0.1:0"}}]
rules: {{etcd: true}}
journal: journal
admin: {{listen: "{listen}", EXPOSED health_port: 15021}}
"""
    file = tmp_path / "sidecar.yaml"
    file.write_text(text.replace("EXPOSED", ""))
    with pytest.raises(BadConfiguration, match="expected a loopback address") as caught:
        load_settings(file, {})
    [mistake] = caught.value.mistakes
    assert mistake.path == "admin.listen"
    assert "health_port" in mistake.problem
    file.write_text(text.replace("EXPOSED", "exposed: true,"))
    assert load_settings(file, {}).health_port == 15021
