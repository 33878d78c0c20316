"""Events as Kafka records, in structured mode: the resource is the key, so its events stay in order.

A record counts once every in-sync replica has it (``acks=all``), and the producer is idempotent: its own repetitions
write nothing twice. Needs the extra ``kafka``; loaded only where it is configured.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.helpers import create_ssl_context

from leasehold.control_plane.config_events import KafkaConfig
from leasehold.control_plane.events.cloudevents import CONTENT_TYPE, CloudEvent
from leasehold.control_plane.events.port import Refused, Undelivered

CLOSE_SECONDS = 1.0


class Kafka:
    """``port.Sink`` over one producer, made when first needed and again after it could not be started."""

    name = "kafka"

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def deliver(self, event: CloudEvent) -> None:
        key = (event.partitionkey or event.id).encode()
        headers = [("content-type", CONTENT_TYPE.encode())]
        try:
            async with asyncio.timeout(self._config.timeout_seconds):
                producer = await self._ready()
                await producer.send_and_wait(self._config.topic, event.body, key=key, headers=headers)
        except MessageSizeTooLargeError as error:
            raise Refused(f"too large: {event.id}") from error
        except TimeoutError as error:
            raise Undelivered("timeout", f"not confirmed within {self._config.timeout_seconds:g} s") from error
        except (KafkaError, OSError, ValueError) as error:
            # Of ours only the kind: what the library says may quote what it was configured with.
            raise Undelivered("unreachable", type(error).__name__) from error

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(TimeoutError, KafkaError, OSError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await producer.stop()

    async def _ready(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = self._made()
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    def _made(self) -> AIOKafkaProducer:
        config = self._config
        tls = config.tls
        secure = "SSL" if tls is not None else "PLAINTEXT"
        sasl = {}
        if config.sasl is not None:
            sasl = {
                "sasl_mechanism": config.sasl.mechanism,
                "sasl_plain_username": config.sasl.username,
                "sasl_plain_password": config.sasl.password_file.read_text(encoding="utf-8").strip(),
            }
        return AIOKafkaProducer(
            bootstrap_servers=list(config.brokers),
            client_id="leasehold",
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=int(config.timeout_seconds * 1000),
            security_protocol=f"SASL_{secure}" if sasl else secure,
            ssl_context=create_ssl_context(cafile=tls.ca, certfile=tls.cert, keyfile=tls.key) if tls else None,
            **sasl,
        )
