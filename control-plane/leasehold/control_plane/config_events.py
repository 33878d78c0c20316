"""The ``events:`` section: who is told of what becomes of resources, and how."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import msgspec

from leasehold.protocol.configuration import Seconds
from leasehold.protocol.etcd.config import TlsConfig


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class WebhookSink(_Section, frozen=True):
    """Each event is POSTed to ``url``. ``headers_file``: a ``Name: value`` on each line, read again when it changes."""

    url: str
    headers_file: str | None = None
    ca: str | None = None
    timeout: Seconds = Seconds(10.0)


class SaslSection(_Section, frozen=True):
    """Who we are to the brokers."""

    username: str
    password_file: str
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"


class KafkaSink(_Section, frozen=True):
    """Each event is a record of ``topic``, which must exist or be made by the brokers. ``tls: {}``: system CAs."""

    brokers: tuple[str, ...]
    topic: str = "leasehold.events"
    tls: TlsConfig | None = None
    sasl: SaslSection | None = None
    timeout: Seconds = Seconds(10.0)


class EventsSection(_Section, frozen=True):
    """Any of these, each with a cursor of its own: one that is down does not hold up the other."""

    webhook: WebhookSink | None = None
    kafka: KafkaSink | None = None

    def nonsense(self, folder: Path) -> Iterator[tuple[str, str]]:
        """What the types cannot say, as path and problem."""
        if self.webhook is not None:
            yield from _webhook_nonsense(self.webhook, folder)
        if self.kafka is not None:
            yield from _kafka_nonsense(self.kafka, folder)

    def completed(self, folder: Path) -> EventsConfig:
        return EventsConfig(
            None if self.webhook is None else _webhook(self.webhook, folder),
            None if self.kafka is None else _kafka(self.kafka, folder),
        )


class WebhookSinkConfig(msgspec.Struct, frozen=True):
    """Complete, with paths that can be opened from anywhere."""

    url: str
    headers_file: Path | None = None
    ca: Path | None = None
    timeout_seconds: float = 10.0


class SaslConfig(msgspec.Struct, frozen=True):
    username: str
    password_file: Path
    mechanism: str


class KafkaConfig(msgspec.Struct, frozen=True):
    """The same for Kafka."""

    brokers: tuple[str, ...]
    topic: str
    tls: TlsConfig | None = None
    sasl: SaslConfig | None = None
    timeout_seconds: float = 10.0


class EventsConfig(msgspec.Struct, frozen=True):
    """Who is told. Nobody: nothing of this is loaded."""

    webhook: WebhookSinkConfig | None = None
    kafka: KafkaConfig | None = None


def _webhook_nonsense(sink: WebhookSink, folder: Path) -> Iterator[tuple[str, str]]:
    if not re.fullmatch(r"https?://[^/\s?#@]+(/[^\s#]*)?", sink.url):
        # Not quoted: whoever puts a password in there by mistake does not want to read it in a log.
        yield "events.webhook.url", "expected http(s)://host[:port][/path], without user and password"
    yield from _unreadable("events.webhook.headers_file", sink.headers_file, folder)
    yield from _unreadable("events.webhook.ca", sink.ca, folder)
    yield from _too_short("events.webhook.timeout", sink.timeout)


def _kafka_nonsense(sink: KafkaSink, folder: Path) -> Iterator[tuple[str, str]]:
    if find_spec("aiokafka") is None:
        yield "events.kafka", "needs the extra kafka: pip install 'leasehold[kafka]'"
    if not sink.brokers:
        yield "events.kafka.brokers", "expected at least one, e.g. 127.0.0.1:9092"
    for n, broker in enumerate(sink.brokers):
        if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+):[0-9]{1,5}", broker):
            yield f"events.kafka.brokers[{n}]", f"expected host:port, got {broker!r}"
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", sink.topic):
        yield "events.kafka.topic", f"expected 1 to 249 letters, digits, '.', '_' or '-', got {sink.topic!r}"
    if sink.tls is not None:
        for field in ("ca", "cert", "key"):
            yield from _unreadable(f"events.kafka.tls.{field}", getattr(sink.tls, field), folder)
    if sink.sasl is not None:
        yield from _unreadable("events.kafka.sasl.password_file", sink.sasl.password_file, folder)
    yield from _too_short("events.kafka.timeout", sink.timeout)


def _unreadable(where: str, file: str | None, folder: Path) -> Iterator[tuple[str, str]]:
    if file is not None and not os.access(folder / file, os.R_OK):
        yield where, f"cannot be read: {folder / file}"


def _too_short(where: str, timeout: float) -> Iterator[tuple[str, str]]:
    if timeout <= 0:
        yield where, f"expected more than 0s, got {timeout}"


def _webhook(sink: WebhookSink, folder: Path) -> WebhookSinkConfig:
    return WebhookSinkConfig(sink.url, _path(sink.headers_file, folder), _path(sink.ca, folder), float(sink.timeout))


def _kafka(sink: KafkaSink, folder: Path) -> KafkaConfig:
    tls, sasl = sink.tls, sink.sasl
    if tls is not None:
        files = {name: None if (file := getattr(tls, name)) is None else str(folder / file)
                 for name in ("ca", "cert", "key")}  # fmt: skip
        tls = msgspec.structs.replace(tls, **files)
    told = None if sasl is None else SaslConfig(sasl.username, folder / sasl.password_file, sasl.mechanism)
    return KafkaConfig(sink.brokers, sink.topic, tls, told, float(sink.timeout))


def _path(file: str | None, folder: Path) -> Path | None:
    return None if file is None else folder / file
