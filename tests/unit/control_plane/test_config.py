"""The configuration file: defaults, relative paths, and every mistake at once."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from leasehold.control_plane.config import load_config
from leasehold.control_plane.core.brake_window import Thresholds
from leasehold.control_plane.core.caps import Caps
from leasehold.control_plane.inject.certificates.store import Places
from leasehold.protocol.configuration import BadConfiguration

RULES = """
owners: [{name: s, hosts: ["s:1"], endpoint: "http://s:1"}]
rules: []
"""
MINIMAL = 'etcd: {endpoints: ["http://127.0.0.1:2379"]}\nrules: {etcd: true}\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "control-plane.yaml"
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str) -> dict[str, str]:
    with pytest.raises(BadConfiguration) as caught:
        load_config(write(folder, text))
    return {mistake.path: mistake.problem for mistake in caught.value.mistakes}


def test_a_small_file_is_enough(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL))
    assert (config.tenant, config.lease_ttl_seconds, config.rules) == ("default", 5, None)
    assert (config.http.host, config.http.port) == ("127.0.0.1", 8700)
    assert config.replica


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    for name in ("secret", "ca.pem"):
        (tmp_path / name).touch()
    section = '{endpoints: ["https://e:1"], username: us, password_file: secret, tls: {ca: ca.pem}}'
    text = f"etcd: {section}\nrules: {{file: rules.yaml}}\n"
    config = load_config(write(tmp_path, text))
    assert config.rules is not None
    assert config.etcd.password_file == str(tmp_path / "secret")
    assert config.etcd.tls is not None
    assert config.etcd.tls.ca == str(tmp_path / "ca.pem")
    assert config.etcd.tls.cert is None


def test_every_mistake_is_listed_at_once_those_of_the_rule_file_too(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("rules: [{name: 'a b'}]\nwhat: 1\n")
    found = mistakes(
        tmp_path,
        "tenant: 'a b'\nreplica: '/'\nnonsense: 1\netcd: {endpoints: ['ftp://x', 7], deadline: soon}\n"
        "rules: {file: rules.yaml}\nhttp: {listen: nowhere}\nlease: {ttl: 1s}\nscan_interval: 5\n",
    )
    for path in (
        "tenant", "replica", "nonsense", "etcd.endpoints[0]", "etcd.endpoints[1]", "etcd.deadline", "http.listen",
        "lease.ttl", "scan_interval", "rules[0].owner", "what",
    ):  # fmt: skip
        assert path in found, (path, found)


def test_thresholds_are_exactly_what_is_written(tmp_path: Path) -> None:
    text = MINIMAL + "brake: {fraction: 0.29, count: 7, window: 90s, losses: 3}\ncaps: {per_owner: 5, window: 2m}\n"
    config = load_config(write(tmp_path, text))
    assert config.thresholds == Thresholds(Fraction(29, 100), 7, 90.0, 3)
    assert config.caps == Caps(per_owner=5, overall=30_000, seconds=120.0)
    assert load_config(write(tmp_path, MINIMAL)).thresholds == Thresholds(Fraction(15, 100), 50, 300.0, 10)


def test_thresholds_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    text = (
        "brake: {fraction: 15, count: -1, losses: -1, window: 0s}\ncaps: {per_owner: 0, overall: 0, window: 2d}\n"
        "canary: {interval: 10ms}\n"
    )
    assert set(mistakes(tmp_path, MINIMAL + text)) == {
        "brake.fraction", "brake.count", "brake.losses", "brake.window", "caps.per_owner", "caps.overall",
        "caps.window", "canary.interval",
    }  # fmt: skip


@pytest.mark.parametrize("section", ["{}", "{etcd: true, file: rules.yaml}", "{etcd: false}"])
def test_rules_come_from_exactly_one_place(tmp_path: Path, section: str) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    assert "rules" in mistakes(tmp_path, MINIMAL.replace("{etcd: true}", section))


def test_a_missing_rule_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"missing\.yaml: cannot be read"):
        load_config(write(tmp_path, MINIMAL.replace("{etcd: true}", "{file: missing.yaml}")))


def test_the_environment_may_fill_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_TENANT", "shop")
    assert load_config(write(tmp_path, MINIMAL + "tenant: ${THE_TENANT}\n")).tenant == "shop"


WEBHOOK = (
    MINIMAL
    + """
webhook: {http: {listen: "[::]:8443"}, api: "http://127.0.0.1:8001"}
inject: {image: "leasehold/sidecar:1", control_plane: ["leasehold-control-plane.leasehold-system:8700"]}
"""
)


def test_without_a_webhook_section_there_is_none(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, MINIMAL)).webhook is None


def test_a_webhook_knows_its_names_and_what_is_injected(tmp_path: Path) -> None:
    webhook = load_config(write(tmp_path, WEBHOOK)).webhook
    assert webhook is not None
    assert (webhook.host, webhook.port, webhook.directory, webhook.asks_namespaces) == ("::", 8443, None, True)
    assert "leasehold-control-plane.leasehold-system.svc" in webhook.names
    assert webhook.settings.section.etcd.endpoints == ("http://127.0.0.1:2379",), "the control plane's own"
    assert webhook.settings.image == "leasehold/sidecar:1"
    assert webhook.api is not None
    assert webhook.api.token_file is None, "no token goes over plain HTTP"


def test_certificates_from_files_and_trusted_selectors_need_no_api_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    section = "{certificates: files, directory: ., namespaces: trust}"
    webhook = load_config(write(tmp_path, f"{MINIMAL}webhook: {section}\n")).webhook
    assert webhook is not None
    assert (webhook.api, webhook.directory) == (None, tmp_path)
    assert set(mistakes(tmp_path, f"{MINIMAL}webhook: {{}}\n")) == {"webhook.api"}


def test_in_a_pod_the_service_account_proves_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    text = f"{MINIMAL}webhook: {{service_account: account}}\n"
    assert "webhook.service_account" in mistakes(tmp_path, text)
    (tmp_path / "account").mkdir()
    for name in ("token", "ca.crt"):
        (tmp_path / "account" / name).touch()
    webhook = load_config(write(tmp_path, text)).webhook
    assert webhook is not None
    assert webhook.api is not None
    assert (webhook.api.url, webhook.api.token_file) == ("https://[fd00::1]:6443", tmp_path / "account" / "token")


def test_mistakes_about_the_webhook_are_listed_with_all_others(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        f"{MINIMAL}webhook: {{http: {{listen: nowhere}}, certificates: files, directory: gone, secret: 'A B', "
        "namespace: other, api: 'ftp://x', deadline: 0s}\ninject: {uid: 0, journal_size: big}\nnonsense: 1\n",
    )
    assert set(found) == {
        "webhook.http.listen", "webhook.directory", "webhook.secret", "webhook.api", "webhook.deadline",
        "inject.namespace", "inject.uid", "inject.journal_size", "nonsense",
    }  # fmt: skip


def test_each_revision_has_names_of_its_own(tmp_path: Path) -> None:
    text = WEBHOOK.replace("inject: {", "inject: {revision: canary, namespace: gc, ")
    webhook = load_config(write(tmp_path, text)).webhook
    assert webhook is not None
    name = "leasehold-control-plane-canary"
    assert webhook.places == Places("gc", name, "leasehold-webhook-canary", name)
