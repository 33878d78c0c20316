"""Owners that speak gRPC for real: rules for them, messages as bytes, a grpclib service, a grpcio service."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError

HTTP2_RULES = """
owners:
  - name: blobs
    hosts: ["blobs.test", "127.0.0.1:{port}"]
    endpoint: http://blobs.test
    delete: {{method: DELETE, path: "/v1/blobs/{{id}}", precondition: never-reused}}
rules:
  - name: create-blob
    owner: blobs
    type: blob
    on: create
    match: {{grpc: {{service: blobs.v1.Blobs, method: [Create, Slow], status: [0]}}}}
    id: {{grpc: {{field: "1.2"}}}}
    held_by: process
    body_limit: 4096
  - name: intend-blob
    owner: blobs
    type: blob
    on: create
    match: {{grpc: {{service: blobs.v1.Blobs, method: Intend}}}}
    id: {{grpc: {{field: "1.2"}}}}
    held_by: process
    commit: before-request
    on_unavailable: {on_unavailable}
    hold_deadline: {deadline}
  - name: watch-blob
    owner: blobs
    type: blob
    on: use
    match: {{grpc: {{service: blobs.v1.Blobs, method: Watch, streaming: true}}}}
    id: {{grpc: {{field: "1.2"}}}}
    held_by: process
  - name: delete-blob
    owner: blobs
    type: blob
    on: delete
    match: {{grpc: {{service: blobs.v1.Blobs, method: Delete, status: [0, 5]}}}}
    id: {{grpc: {{field: "1", from: request}}}}
  - name: tag-blob
    owner: blobs
    type: blob
    on: create
    match: {{grpc: {{service: blobs.v1.Blobs, method: Tag}}}}
    id: {{header: x-blob}}
    held_by: process
  - name: post-blob
    owner: blobs
    type: blob
    on: create
    match: {{method: POST, path: "/v1/blobs", status: [201]}}
    id: {{json: id}}
    held_by: process
  - name: put-blob
    owner: blobs
    type: blob
    on: create
    match: {{method: PUT, path: "/v1/blobs/{{id}}", status: [200, 201]}}
    id: {{path: id}}
    held_by: process
    commit: before-request
    on_unavailable: {on_unavailable}
    hold_deadline: {deadline}
"""
SERVICE = "blobs.v1.Blobs"


def http2_rules(port: int = 1, on_unavailable: str = "forward", deadline: str = "2s") -> str:
    return HTTP2_RULES.format(port=port, on_unavailable=on_unavailable, deadline=deadline)


def text(number: int, value: bytes) -> bytes:
    """A length-delimited protobuf field; shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(value)]) + value


def blob(name: str) -> bytes:
    """``Answer {Blob blob = 1; string pad = 3}`` with ``Blob {string id = 2}``."""
    return text(1, text(2, name.encode())) + text(3, b"padding" * 9)


def framed(message: bytes, flag: int = 0) -> bytes:
    return bytes([flag]) + len(message).to_bytes(4, "big") + message


class RawCodec(CodecBase):
    """Messages are the bytes they are."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class GrpclibBlobs:
    """The service. What a method gets is the id; one with ``fail`` in it fails."""

    async def _one(self, stream: Any) -> None:
        request = await stream.recv_message()
        if b"fail" in request:
            raise GRPCError(Status.NOT_FOUND, "no such blob")
        await stream.send_message(blob(request[2:].decode()))

    async def _slow(self, stream: Any) -> None:
        await asyncio.sleep(0.2)
        await self._one(stream)

    async def _tag(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_initial_metadata(metadata={"x-blob": request[2:].decode()})
        await stream.send_message(b"")

    async def _watch(self, stream: Any) -> None:
        request = await stream.recv_message()
        for n in range(3):
            await stream.send_message(blob(f"{request[2:].decode()}-{n}"))
            await asyncio.sleep(0.05)

    def __mapping__(self) -> Mapping[str, Handler]:
        one, many = Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM
        return {
            f"/{SERVICE}/Create": Handler(self._one, one, bytes, bytes),
            f"/{SERVICE}/Intend": Handler(self._one, one, bytes, bytes),
            f"/{SERVICE}/Delete": Handler(self._one, one, bytes, bytes),
            f"/{SERVICE}/Other": Handler(self._one, one, bytes, bytes),
            f"/{SERVICE}/Slow": Handler(self._slow, one, bytes, bytes),
            f"/{SERVICE}/Tag": Handler(self._tag, one, bytes, bytes),
            f"/{SERVICE}/Watch": Handler(self._watch, many, bytes, bytes),
        }


def grpcio_blobs(compression: grpc.Compression) -> tuple[grpc.Server, int]:
    """The same, by grpcio, started; its port. Stop it with ``stop(None)``."""

    def one(request: bytes, context: grpc.ServicerContext) -> bytes:
        if b"fail" in request:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such blob")
        return blob(request[2:].decode())

    def many(request: bytes, context: grpc.ServicerContext) -> Any:
        for n in range(3):
            yield blob(f"{request[2:].decode()}-{n}")

    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(one) for name in ("Create", "Intend", "Delete", "Other")
    }
    handlers["Watch"] = grpc.unary_stream_rpc_method_handler(many)
    server = grpc.server(ThreadPoolExecutor(4), compression=compression)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
