"""A Kafka broker with one topic of one partition, as far as a producer goes; aiokafka's own codecs read what comes.

It keeps the records it has acknowledged. ``errors`` are the error codes that the next batches are answered with;
``silent``: batches are taken and never answered.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Self

from aiokafka.protocol.admin import ApiVersionResponse_v0
from aiokafka.protocol.metadata import MetadataResponse_v1
from aiokafka.protocol.produce import ProduceRequest_v3, ProduceResponse_v3
from aiokafka.protocol.transaction import InitProducerIdResponse_v0
from aiokafka.record.memory_records import MemoryRecords

PRODUCE, METADATA, API_VERSIONS, INIT_PRODUCER_ID = 0, 3, 18, 22
NEWEST = {PRODUCE: 3, METADATA: 1, API_VERSIONS: 0, INIT_PRODUCER_ID: 0}


@dataclass
class Record:
    key: str
    value: bytes
    headers: dict[str, bytes]
    acks: int
    producer: int


@dataclass
class Broker:
    topic: str
    records: list[Record] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)
    silent: bool = False
    port: int = 0
    _server: asyncio.Server | None = None
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._connections):
            writer.close()
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                request = BytesIO(await reader.readexactly(size))
                api, version, correlation, length = struct.unpack(">hhih", request.read(10))
                request.read(max(length, 0))
                assert version <= NEWEST[api], (api, version)
                answer = self._answer(api, request)
                if answer is not None:
                    writer.write(struct.pack(">ii", len(answer) + 4, correlation) + answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()

    def _answer(self, api: int, request: BytesIO) -> bytes | None:
        if api == API_VERSIONS:
            return _encoded(ApiVersionResponse_v0(0, [(key, 0, newest) for key, newest in NEWEST.items()]))
        if api == METADATA:
            partition = (0, 0, 1, [1], [1])
            brokers, topics = [(1, "127.0.0.1", self.port, None)], [(0, self.topic, False, [partition])]
            return _encoded(MetadataResponse_v1(brokers, 1, topics))
        if api == INIT_PRODUCER_ID:
            return _encoded(InitProducerIdResponse_v0(0, 0, 4711, 0))
        return self._produce(ProduceRequest_v3.decode(request))

    def _produce(self, request: Any) -> bytes | None:
        if self.silent:
            return None
        error = self.errors.pop(0) if self.errors else 0
        if not error:
            for topic, partitions in request.topics:
                assert topic == self.topic
                for _, data in partitions:
                    self._keep(data, request.required_acks)
        partition = (0, error, len(self.records), -1)
        return _encoded(ProduceResponse_v3([(self.topic, [partition])], 0))

    def _keep(self, data: bytes, acks: int) -> None:
        batches = MemoryRecords(data)
        while batches.has_next():
            batch = batches.next_batch()
            assert batch is not None
            assert batch.validate_crc()
            self.records += [
                Record(one.key.decode(), one.value, dict(one.headers), acks, batch.producer_id) for one in batch
            ]


def _encoded(response: Any) -> bytes:
    encoded: bytes = response.SCHEMA.encode([getattr(response, name) for name in response.SCHEMA.names])
    return encoded
