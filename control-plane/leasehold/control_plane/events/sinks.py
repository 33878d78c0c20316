"""One emitter for each receiver that is configured, and what their metrics show."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from leasehold.control_plane.config_events import EventsConfig
from leasehold.control_plane.events.emitter import Emitter
from leasehold.control_plane.events.port import Sink
from leasehold.control_plane.events.webhook import Webhook
from leasehold.control_plane.leadership import TenantsAuthority
from leasehold.control_plane.metrics import Metrics
from leasehold.control_plane.telemetry.declared import events as told
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import Revision
from leasehold.protocol.ports import Clock, Store, Watches
from leasehold.shell.headers_file import HeadersFile


def sinks(config: EventsConfig) -> Iterator[Sink]:
    """Not connected yet. Raises ``ImportError`` for one whose extra is not installed."""
    webhook = config.webhook
    if webhook is not None:
        headers = HeadersFile(webhook.headers_file) if webhook.headers_file is not None else None
        yield Webhook(webhook.url, headers, webhook.ca, webhook.timeout_seconds)
    if config.kafka is not None:
        from leasehold.control_plane.events.kafka import Kafka

        yield Kafka(config.kafka)


def emitters(
    config: EventsConfig,
    store: Store,
    watches: Watches,
    keys: Keyspace,
    clock: Clock,
    authority: TenantsAuthority,
    metrics: Metrics,
    *,
    deadline: float,
    jitter: Callable[[], float],
    seen: Callable[[], Revision],
) -> list[Emitter]:
    """``seen``: the latest revision that the collector knows of."""
    made = [
        Emitter(store, watches, keys, clock, sink, authority, metrics, deadline=deadline, jitter=jitter)
        for sink in sinks(config)
    ]
    metrics.view(told.LAG, lambda: [((one.sink,), one.lag_seconds) for one in made])
    metrics.view(told.BEHIND, lambda: [((one.sink,), one.behind(seen())) for one in made])
    return made
