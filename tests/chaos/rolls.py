"""An owner that speaks nothing but gRPC, with the same ledger as the others: ``rolls.v1.Rolls``.

``Create`` gives an id that is never used again, ``Get`` shows a roll, ``Delete`` removes it. All three take and give a
``Roll`` of two texts, ``id`` and ``uid``. Written against grpcio and descriptors alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # we start programs, and none of them goes on with our channels

import grpc
import grpc.aio
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from tests.chaos.owners import HOST, Owner, Thing, who_asks

SERVICE = "rolls.v1.Rolls"
METHODS = ("Create", "Get", "Delete")
_Carry = Callable[[bytes, Any], Awaitable[bytes]]


class GrpcOwner(Owner):
    """Its moods are always fine: what is hurt of it are its wires."""

    async def start(self) -> None:
        doing: dict[str, _Carry] = {"Create": self._make, "Get": self._show, "Delete": self._end}
        handlers = {name: grpc.unary_unary_rpc_method_handler(carry) for name, carry in doing.items()}
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self.port = self._server.add_insecure_port(f"{HOST}:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(grace=0.2)

    async def _make(self, _: bytes, context: Any) -> bytes:
        arrival = self._arrive(context, "POST", uuid4().hex)
        arrival.uid = uuid4().hex
        self.things[arrival.id] = Thing(arrival.uid, arrival.who)
        self._note(arrival, 201, "created")
        return roll(arrival.id, arrival.uid)

    async def _show(self, request: bytes, context: Any) -> bytes:
        arrival = self._arrive(context, "GET", id_of(request))
        thing = self.things.get(arrival.id)
        if thing is None:
            self._note(arrival, 404, "")
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such roll")
        assert thing is not None
        arrival.uid = thing.uid
        self._note(arrival, 200, "")
        return roll(arrival.id, arrival.uid)

    async def _end(self, request: bytes, context: Any) -> bytes:
        arrival = self._arrive(context, "DELETE", id_of(request))
        arrival.revision = await self.look()
        thing = self.things.pop(arrival.id, None)
        arrival.uid = thing.uid if thing else ""
        self._note(arrival, 204 if thing else 404, "removed" if thing else "")
        if thing is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such roll")
        return roll(arrival.id, "")

    def _arrive(self, context: Any, method: str, identity: str) -> Any:
        told = dict(context.invocation_metadata())
        port = int(context.peer().rpartition(":")[2])
        who = who_asks(told.get("x-collector"), told.get("x-program", "?"))
        return self._first(identity, method, who, time.monotonic(), self.callers.get(port, ""))


def roll(identity: str, uid: str) -> bytes:
    """A ``Roll`` on the wire; texts shorter than 128 bytes."""
    texts = [(0x0A, identity.encode()), (0x12, uid.encode())]
    return b"".join(bytes([tag, len(text)]) + text for tag, text in texts if text)


def id_of(request: bytes) -> str:
    """The first text of a ``Roll``."""
    return request[2 : 2 + request[1]].decode() if len(request) > 1 and request[0] == 0x0A else ""


def descriptor_set() -> bytes:
    """What ``protoc --descriptor_set_out`` would write for ``rolls.proto``."""
    file = FileDescriptorProto(name="rolls.proto", package="rolls.v1", syntax="proto3")
    message, text = file.message_type.add(name="Roll"), FieldDescriptorProto.TYPE_STRING
    for number, name in enumerate(("id", "uid"), 1):
        message.field.add(name=name, number=number, type=text, label=FieldDescriptorProto.LABEL_OPTIONAL)
    service = file.service.add(name="Rolls")
    for method in METHODS:
        service.method.add(name=method, input_type=".rolls.v1.Roll", output_type=".rolls.v1.Roll")
    return FileDescriptorSet(file=[file]).SerializeToString()
