"""An owner that speaks gRPC, by grpcio: blobs with uids and etags, its descriptor set, and rules for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import grpc
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

SERVICE = "blobs.v1.Blobs"
_TEXT, _INT, _BOOL = FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_INT64, FieldDescriptorProto.TYPE_BOOL
_BYTES = FieldDescriptorProto.TYPE_BYTES
_MESSAGES: dict[str, list[tuple[str, int, int | str]]] = {
    "Blob": [("name", 1, _TEXT), ("uid", 2, _TEXT), ("etag", 3, _TEXT), ("number", 4, _INT)],
    "CreateBlobRequest": [("content", 1, _TEXT)],
    "GetBlobRequest": [("name", 1, _TEXT)],
    "Options": [("force", 1, _BOOL), ("reason", 2, _TEXT)],
    "DeleteBlobRequest": [("name", 1, _TEXT), ("etag", 2, _TEXT), ("options", 3, "Options"), ("number", 4, _INT),
                          ("raw", 5, _BYTES), ("by_alias", 6, _TEXT), ("by_label", 7, _TEXT)],
    "Empty": [],
}  # fmt: skip
_METHODS = {
    "CreateBlob": ("CreateBlobRequest", ".blobs.v1.Blob"),
    "GetBlob": ("GetBlobRequest", ".blobs.v1.Blob"),
    "DeleteBlob": ("DeleteBlobRequest", ".blobs.v1.Empty"),
    "PurgeBlob": ("DeleteBlobRequest", ".google.longrunning.Operation"),
    "WatchBlob": ("GetBlobRequest", ".blobs.v1.Blob"),
}


def descriptor_set() -> bytes:
    """What ``protoc --include_imports --descriptor_set_out`` would write for ``blobs.proto``."""
    operations = FileDescriptorProto(name="google/longrunning/operations.proto", package="google.longrunning")
    operation = operations.message_type.add(name="Operation")
    operation.field.add(name="name", number=1, type=_TEXT, label=FieldDescriptorProto.LABEL_OPTIONAL)
    file = FileDescriptorProto(name="blobs.proto", package="blobs.v1", syntax="proto3", dependency=[operations.name])
    for shape, fields in _MESSAGES.items():
        message = file.message_type.add(name=shape)
        for name, number, kind in fields:
            inner = isinstance(kind, str)
            message.field.add(
                name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL,
                type=FieldDescriptorProto.TYPE_MESSAGE if inner else kind,
                type_name=f".blobs.v1.{kind}" if inner else None,
                oneof_index=0 if name.startswith("by_") else None,
            )  # fmt: skip
    file.message_type[list(_MESSAGES).index("DeleteBlobRequest")].oneof_decl.add(name="selector")
    service = file.service.add(name="Blobs")
    for method, (request, reply) in _METHODS.items():
        service.method.add(
            name=method, input_type=f".blobs.v1.{request}", output_type=reply, server_streaming=method == "WatchBlob"
        )
    return FileDescriptorSet(file=[operations, file]).SerializeToString()


def _classes() -> dict[str, Any]:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(descriptor_set()).file:
        pool.Add(file)
    found = {name: GetMessageClass(pool.FindMessageTypeByName(f"blobs.v1.{name}")) for name in _MESSAGES}
    return found | {"Operation": GetMessageClass(pool.FindMessageTypeByName("google.longrunning.Operation"))}


MESSAGES = _classes()
Trailing = tuple[tuple[str, str | bytes], ...]


@dataclass
class Blob:
    uid: str
    version: int = 1

    @property
    def etag(self) -> str:
        return f"{self.uid}-{self.version}"


@dataclass
class GrpcBlobs:
    """The service. ``answers`` are given to deletes first; ``lies`` makes it say OK and keep everything."""

    blobs: dict[str, Blob] = field(default_factory=dict)
    ledger: list[tuple[str, str]] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    seen_metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)
    seen_seconds: list[float | None] = field(default_factory=list)
    answers: list[tuple[grpc.StatusCode, Trailing]] = field(default_factory=list)
    read_answers: list[grpc.StatusCode] = field(default_factory=list)
    before_delete: Callable[[str], None] | None = None
    lies: bool = False
    hang: threading.Event | None = None
    large: int = 0
    credentials: grpc.ServerCredentials | None = None
    port: int = 0
    _server: grpc.Server | None = None

    def __enter__(self) -> Self:
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                getattr(self, f"_{name[:-4].lower()}"),
                request_deserializer=MESSAGES[_METHODS[name][0]].FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for name in ("CreateBlob", "GetBlob", "DeleteBlob", "PurgeBlob")
        }
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        place = f"127.0.0.1:{self.port}"
        if self.credentials is None:
            self.port = self._server.add_insecure_port(place)
        else:
            self.port = self._server.add_secure_port(place, self.credentials)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.hang is not None:
            self.hang.set()
        self.stop()

    def stop(self) -> None:
        """Nobody is there any more; the port is free."""
        assert self._server is not None
        self._server.stop(None).wait()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def add(self, name: str, uid: str | None = None) -> Blob:
        self.blobs[name] = blob = Blob(uid or uuid4().hex)
        return blob

    def deletes(self) -> list[str]:
        return [name for method, name in self.ledger if method == "delete"]

    def _note(self, method: str, name: str, request: Any, context: grpc.ServicerContext) -> None:
        self.ledger.append((method, name))
        self.requests.append(request)
        self.seen_metadata.append(dict(context.invocation_metadata()))
        self.peers.append(context.peer())
        self.seen_seconds.append(context.time_remaining())

    def _create(self, request: Any, context: grpc.ServicerContext) -> Any:
        name = uuid4().hex
        blob = self.add(name)
        self._note("create", name, request, context)
        return MESSAGES["Blob"](name=name, uid=blob.uid, etag=blob.etag)

    def _get(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._note("get", request.name, request, context)
        if self.read_answers:
            context.abort(self.read_answers.pop(0), "as told")
        blob = self.blobs.get(request.name)
        if blob is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such blob")
        return MESSAGES["Blob"](name=request.name + "x" * self.large, uid=blob.uid, etag=blob.etag)

    def _delete(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._note("delete", request.name, request, context)
        if self.before_delete is not None:
            self.before_delete(request.name)
        if self.hang is not None:
            self.hang.wait(60)
        if self.answers:
            code, trailing = self.answers.pop(0)
            context.set_trailing_metadata(trailing)
            context.abort(code, "as told")
        if self.lies:
            return MESSAGES["Empty"]()
        blob = self.blobs.get(request.name)
        if blob is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such blob")
        if request.etag and request.etag != blob.etag:
            context.abort(grpc.StatusCode.ABORTED, "the etag does not match")
        del self.blobs[request.name]
        return MESSAGES["Empty"]()

    def _purge(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._delete(request, context)
        return MESSAGES["Operation"](name="operations/1")


def grpc_rules(
    endpoint: str, schema: Path, *, precondition: str = "never-reused", delete: str = "", read: str = "",
    more: str = "", grace: str = "2s", hosts: str = "blobs.test",
) -> str:  # fmt: skip
    """A rule file for this owner. ``delete`` and ``read`` replace the calls; ``more`` are fields of the owner."""
    etag = ', etag: "{etag}"' if precondition == "if-match" else ""
    delete = delete or f'{{service: {SERVICE}, method: DeleteBlob, request: {{name: "{{id}}"{etag}}}}}'
    read = read or (
        f'{{grpc: {{service: {SERVICE}, method: GetBlob, request: {{name: "{{id}}"}}}}, '
        "incarnation: {grpc: {field: uid}}, etag: {grpc: {field: etag}}}"
    )
    return f"""
owners:
  - name: store
    hosts: ["{hosts}"]
    endpoint: {endpoint}
    descriptor_set: {schema}
    delete: {{grpc: {delete}, precondition: {precondition}}}
    read: {read}
    {more}
rules:
  - name: create-blob
    owner: store
    type: blob
    on: create
    match: {{grpc: {{service: {SERVICE}, method: CreateBlob}}}}
    id: {{grpc: {{field: name}}}}
    incarnation: {{grpc: {{field: uid}}}}
    held_by: process
    mode: sweep
    grace: {grace}
  - name: use-blob
    owner: store
    type: blob
    on: use
    match: {{grpc: {{service: {SERVICE}, method: GetBlob}}}}
    id: {{grpc: {{field: name}}}}
    held_by: process
"""
