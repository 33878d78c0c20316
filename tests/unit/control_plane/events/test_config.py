"""The ``events:`` section: what is wrong is listed, with what was expected, and no secret is quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from leasehold.control_plane.config import load_config
from leasehold.control_plane.config_events import EventsConfig, KafkaConfig, SaslConfig, WebhookSinkConfig
from leasehold.protocol.configuration import BadConfiguration

BASE = 'etcd: {endpoints: ["http://127.0.0.1:2379"]}\nrules: {etcd: true}\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "control-plane.yaml"
    path.write_text(BASE + text)
    return path


def test_without_the_section_nobody_is_told(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "")).events == EventsConfig()


def test_both_receivers_with_files_beside_the_configuration(tmp_path: Path) -> None:
    for name in ("headers", "password"):
        (tmp_path / name).write_text("x")
    config = load_config(
        written(
            tmp_path,
            """
events:
  webhook: {url: "https://hooks.example/leasehold", headers_file: headers, timeout: 3s}
  kafka: {brokers: ["kafka:9092"], topic: gc, tls: {}, sasl: {username: u, password_file: password}}
""",
        )
    )
    assert config.events.webhook == WebhookSinkConfig(
        "https://hooks.example/leasehold", tmp_path / "headers", timeout_seconds=3.0
    )
    kafka = config.events.kafka
    assert isinstance(kafka, KafkaConfig)
    assert (kafka.brokers, kafka.topic) == (("kafka:9092",), "gc")
    assert kafka.sasl == SaslConfig("u", tmp_path / "password", "SCRAM-SHA-512")


def test_every_mistake_is_listed_and_no_secret_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration) as caught:
        load_config(
            written(
                tmp_path,
                """
events:
  webhook: {url: "https://me:hunter2@hooks.example/", headers_file: nowhere, timeout: 0s}
  kafka: {brokers: ["kafka"], topic: "a b", sasl: {username: u, password_file: gone}}
""",
            )
        )
    told = str(caught.value)
    for where in ("webhook.url", "webhook.headers_file", "webhook.timeout", "kafka.brokers[0]", "kafka.topic",
                  "kafka.sasl.password_file"):  # fmt: skip
        assert f"events.{where}" in told
    assert "hunter2" not in told
