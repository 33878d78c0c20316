"""Which etcd and which tenant, and how trouble on the way there is told: one line with what, where and expected.

Exit codes: 0 done, 1 could not be done (unreachable, not found, refused), 2 bad usage, 78 bad configuration.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import click

from leasehold.protocol.errors import AccessDenied, NoSpace, StoreError, Unavailable, Uncertain
from leasehold.protocol.etcd.client import EtcdClient
from leasehold.protocol.etcd.config import EtcdConfig, TlsConfig
from leasehold.protocol.keyspace import Keyspace
from leasehold.protocol.names import NAME_EXPECTED, Resource, Tenant, is_name

T = TypeVar("T")


class Failure(click.ClickException):
    """It could not be done: one line on stderr, exit code 1."""

    exit_code = 1

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        click.echo(f"leasehold: {self.message}", err=True)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a command works: an etcd, how to get in, a tenant there, and how long a call may take."""

    endpoints: tuple[str, ...]
    tenant: Tenant
    deadline: float = 5.0
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    username: str | None = None
    password_file: str | None = None
    server: str | None = None
    """The operator API to ask instead of etcd, as ``http(s)://host:port``."""
    token_file: str | None = None

    @property
    def keys(self) -> Keyspace:
        return Keyspace(self.tenant)

    @property
    def where(self) -> str:
        """The endpoints, for messages."""
        return self.server or ", ".join(self.endpoints)

    def config(self, endpoints: tuple[str, ...] | None = None) -> EtcdConfig:
        """For all endpoints, or for those given (``doctor`` asks each alone)."""
        tls = None
        if any((self.ca, self.cert, self.key, self.server_name)):
            tls = TlsConfig(ca=self.ca, cert=self.cert, key=self.key, server_name=self.server_name)
        return EtcdConfig(
            endpoints=list(endpoints or self.endpoints),
            tls=tls,
            username=self.username,
            password_file=self.password_file,
            deadline_seconds=self.deadline,
        )

    def connect(self) -> AbstractAsyncContextManager[EtcdClient]:
        """A client, closed on leaving."""
        return EtcdClient(self.config())

    def run(self, work: Callable[[EtcdClient], Awaitable[T]]) -> T:
        """Connect, do ``work``, disconnect. Raises ``Failure`` for whatever etcd refuses."""
        if self.server is not None:
            raise Failure("the operator API does not offer this; leave --server out, and name etcd with --etcd")

        async def connected() -> T:
            async with self.connect() as client:
                return await work(client)

        try:
            return asyncio.run(connected())
        except (StoreError, OSError, ValueError) as error:
            raise self.failure(error) from error

    def failure(self, error: Exception) -> Failure:
        """What went wrong at the store, as one line for a person."""
        return Failure(f"{_told(error)} [{self.where}]: {error}")


def _told(error: Exception) -> str:
    match error:
        case Unavailable():
            return "etcd cannot be reached (expected one at --etcd or LEASEHOLD_ENDPOINTS)"
        case AccessDenied():
            return "etcd refused us (expected --user with --password-file, or a client certificate)"
        case NoSpace():
            return "etcd is out of space: reads work, writes do not (compact, defragment, disarm the NOSPACE alarm)"
        case Uncertain():
            return "etcd did not answer in time; a change may or may not have happened (look, then repeat)"
        case _:
            return "etcd could not be used"


def parse_endpoints(text: str) -> tuple[str, ...]:
    """``URL[,URL]``; a bare ``host:port`` means http. Raises ``click.BadParameter``."""
    found = tuple(part.strip().rstrip("/") for part in text.split(",") if part.strip())
    if not found:
        raise click.BadParameter("expected at least one URL like http://127.0.0.1:2379", param_hint="--etcd")
    return tuple(part if "://" in part else f"http://{part}" for part in found)


def parse_server(text: str) -> str:
    """``http(s)://host:port``; a bare ``host:port`` means https. Raises ``click.BadParameter``."""
    url = text.rstrip("/") if "://" in text else f"https://{text.rstrip('/')}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port and not parts.path
    except ValueError:
        good = False
    if not good:
        raise click.BadParameter(f"expected http(s)://host:port, got {text!r}", param_hint="--server")
    return url


def parse_tenant(text: str) -> Tenant:
    """Raises ``click.BadParameter``."""
    return Tenant(parse_name(text, "--tenant"))


def parse_name(text: str, option: str) -> str:
    """A name that people choose, given as ``option``. Raises ``click.BadParameter``."""
    if not is_name(text):
        raise click.BadParameter(f"expected {NAME_EXPECTED}, got {text!r}", param_hint=option)
    return text


if TYPE_CHECKING:
    _ParamType = click.ParamType[Resource]
else:
    _ParamType = click.ParamType  # generic for type checkers only before click 8.4


class ResourceParameter(_ParamType):
    """``<owner>/<type>/<id>``, where the id may contain slashes."""

    name = "owner/type/id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Resource:
        if isinstance(value, Resource):
            return value
        try:
            return Resource.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


RESOURCE = ResourceParameter()
pass_target = click.make_pass_decorator(Target)


def operator_name() -> str:
    """Who pins, trips and arms: the login name, for the record."""
    return os.environ.get("LEASEHOLD_OPERATOR") or os.environ.get("SUDO_USER") or os.environ.get("USER") or "operator"
