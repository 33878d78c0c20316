"""What is wrong with an owner, as place and problem, in the order of its model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from leasehold.protocol.lookups import inventory_nonsense, lookup_nonsense
from leasehold.protocol.names import NAME_EXPECTED, is_name
from leasehold.protocol.requests import call_nonsense, not_metadata
from leasehold.protocol.rules.asking import notices_nonsense, verify_nonsense
from leasehold.protocol.rules.owners import Calls, DeleteCall, Owner, Precondition, ReadCall, Retries
from leasehold.protocol.rules.proving import auth_nonsense, header_files_nonsense, headers_nonsense
from leasehold.protocol.rules.source_nonsense import source_nonsense, template_nonsense
from leasehold.protocol.rules.sources import Side

_METHODS = ("delete", "read", "verify", "condemn", "restore", "lookup", "inventory")


def owner_nonsense(owner: Owner) -> Iterator[tuple[str, str]]:
    if not is_name(owner.name):
        yield "name", f"expected {NAME_EXPECTED}, got {owner.name!r}"
    if not owner.hosts:
        yield "hosts", "expected at least one authority or address, e.g. blobs.internal:8080"
    for n, host in enumerate(owner.hosts):
        if not re.fullmatch(r"[^\s/@]+", host):
            yield f"hosts[{n}]", f"expected host or host:port, got {host!r}"
    yield from _endpoint_nonsense(owner)
    own = Calls(owner.delete, owner.read, owner.verify, owner.condemn, owner.restore, owner.lookup)
    yield from _calls_nonsense("", own, owner)
    for kind, calls in owner.types.items():
        yield from _calls_nonsense(f"types.{kind}.", calls, owner)
    yield from _metadata_nonsense(owner)
    yield from _proof_nonsense(owner)
    yield from _retries_nonsense(owner.retries)
    limits = owner.limits
    for field, value in (
        ("concurrency", limits.concurrency),
        ("per_second", limits.per_second),
        ("timeout", limits.timeout),
    ):
        if value <= 0:
            yield f"limits.{field}", f"expected more than 0, got {value:g}"


def _retries_nonsense(retries: Retries) -> Iterator[tuple[str, str]]:
    for field, least, most in (
        ("first", 0.1, 86400.0),
        ("longest", float(retries.first), 7 * 86400.0),
        ("budget", float(retries.longest), 365 * 86400.0),
        ("refusals", 1, 1000),
        ("slow", 1.0, 30 * 86400.0),
    ):
        value = getattr(retries, field)
        if not least <= value <= most:
            unit = "" if field == "refusals" else "s"
            yield f"retries.{field}", f"expected {least:g}{unit} to {most:g}{unit}, got {value:g}{unit}"


def _calls_nonsense(where: str, calls: Calls, owner: Owner) -> Iterator[tuple[str, str]]:
    for name in _METHODS:
        method = getattr(getattr(calls, name), "method", "")
        if method and not re.fullmatch(r"[A-Z][A-Z_-]{0,31}", method):
            yield f"{where}{name}.method", f"expected an upper-case HTTP method, got {method!r}"
    if calls.delete is not None:
        conditional = calls.delete.precondition is Precondition.IF_MATCH
        yield from _call_nonsense(f"{where}delete", calls.delete, owner, etag=conditional)
    if calls.read is not None:
        yield from _call_nonsense(f"{where}read", calls.read, owner, etag=False)
        yield from _signs_nonsense(f"{where}read", calls.read)
    if calls.verify is not None:
        yield from verify_nonsense(f"{where}verify", calls.verify)
    yield from notices_nonsense(where, calls)
    if calls.lookup is not None:
        yield from ((f"{where}lookup.{place}", problem) for place, problem in lookup_nonsense(calls.lookup))
    if calls.inventory is not None:
        yield from ((f"{where}inventory.{place}", problem) for place, problem in inventory_nonsense(calls.inventory))
    delete, read = calls.delete or owner.delete, calls.read or owner.read
    if delete is not None and (calls.delete is not None or calls.read is not None):
        yield from _pair_nonsense(where + ("delete" if calls.delete else "read"), delete, read)


def _call_nonsense(where: str, call: DeleteCall | ReadCall, owner: Owner, *, etag: bool) -> Iterator[tuple[str, str]]:
    if (call.grpc is None) == (not call.path):
        yield where, f"expected exactly one of path and grpc; got {'both' if call.path else 'none'}"
    elif call.grpc is None:
        yield from template_nonsense(f"{where}.path", call.path, "id")
    if call.grpc is None:
        return
    for place, problem in call_nonsense(call.grpc, etag=etag):
        yield f"{where}.grpc.{place}", problem
    if owner.descriptor_set is None:
        yield f"{where}.grpc", f"messages are built with a descriptor_set, and owner {owner.name} has none"


def _metadata_nonsense(owner: Owner) -> Iterator[tuple[str, str]]:
    """What only an owner called by gRPC cannot have."""
    if not owner.speaks_grpc:
        return
    for name in owner.header_files:
        if problem := not_metadata(name, "a"):
            yield f"header_files.{name}", f"it goes along as gRPC metadata: {problem}"
    for name, value in owner.headers.items():
        if problem := not_metadata(name, value):
            yield f"headers.{name}", f"it goes along as gRPC metadata: {problem}"
    if owner.endpoint.count("/") > 2 and owner.endpoint.split("/", 3)[3]:
        yield "endpoint", f"gRPC knows no path prefix: expected an endpoint without one, got {owner.endpoint!r}"


def _proof_nonsense(owner: Owner) -> Iterator[tuple[str, str]]:
    if owner.auth is not None:
        for where, problem in auth_nonsense(owner.auth, grpc=owner.speaks_grpc):
            yield f"auth.{where}".rstrip("."), problem
        if owner.bearer_token_file is not None:
            yield "auth", "expected only one of auth and bearer_token_file"
    authorized = owner.auth is not None or owner.bearer_token_file is not None
    yield from headers_nonsense(owner.headers)
    yield from header_files_nonsense(owner.header_files, owner.headers, authorized=authorized)
    if owner.tls is not None and owner.tls.key is not None and owner.tls.cert is None:
        yield "tls.key", "expected a cert beside the key"


def _signs_nonsense(where: str, read: ReadCall) -> Iterator[tuple[str, str]]:
    if read.etag is not None and read.grpc is None:
        yield f"{where}.etag", "an HTTP answer has its ETag header: expected only beside grpc"
    for name, source in (("incarnation", read.incarnation), ("etag", read.etag)):
        if source is None:
            continue
        yield from source_nonsense(f"{where}.{name}", source, None)
        if read.grpc is None and source.grpc is not None:
            yield f"{where}.{name}.grpc", "this read is an HTTP call: expected json or header"
        if read.grpc is not None and source.grpc is None:
            yield f"{where}.{name}", "this read is a gRPC call: expected grpc: {field: ...}"
        if source.grpc is not None and source.grpc.side is Side.REQUEST:
            yield f"{where}.{name}.grpc.from", "the request is our own: expected response"


def _pair_nonsense(where: str, delete: DeleteCall, read: ReadCall | None) -> Iterator[tuple[str, str]]:
    conditional = delete.precondition is Precondition.IF_MATCH
    if read is None:
        if conditional:
            yield f"{where}.precondition", "if-match needs to look first: expected a read beside the delete"
        return
    if (read.grpc is None) != (delete.grpc is None):
        yield where, "expected delete and read both by path or both by grpc"
    elif conditional and read.grpc is not None and read.etag is None and read.incarnation is None:
        yield where, "if-match needs to know the etag: expected etag or incarnation in the read"


def _endpoint_nonsense(owner: Owner) -> Iterator[tuple[str, str]]:
    try:
        url = urlsplit(owner.endpoint)
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
    if not usable or url.query or url.fragment or url.username is not None:
        yield (
            "endpoint",
            f"expected http(s)://host[:port][/prefix] without credentials or query, got {owner.endpoint!r}",
        )
    elif owner.tls is not None and url.scheme == "http":
        yield "tls", "expected an https endpoint beside tls"
