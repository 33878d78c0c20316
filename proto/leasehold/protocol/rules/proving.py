"""What proves to an owner that the collector may ask: models, and what is wrong with them.

Secrets are in files, never in the document: it is stored in etcd, and anybody may read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from msgspec import field

from leasehold.protocol.configuration import Seconds
from leasehold.protocol.rules.sources import Model

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_AWS_WORD = re.compile(r"[a-z0-9-]+")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "if-match", "user-agent"})
_FRAMING = _OURS - {"host", "user-agent"} | {"te", "trailer", "upgrade", "expect", "keep-alive"}
_VALUE = re.compile(r"[\t -~\xa0-\xff]*")
_PARAMETERS_OURS = frozenset({"grant_type", "client_id", "client_secret", "scope"})


class Basic(Model, frozen=True):
    """User name and password, as HTTP knows them."""

    username: str
    password_file: str


class OAuth2(Model, frozen=True):
    """A token by client credentials (RFC 6749, 4.4). ``parameters`` go along, such as ``audience``.

    ``secret_in_body``: for servers that do not take the client's secret in a header. ``ca``: PEM, else the system's.
    """

    token_url: str
    client_id: str
    client_secret_file: str
    scope: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    secret_in_body: bool = False
    ca: str | None = None
    timeout: Seconds = Seconds(5.0)


class Aws(Model, frozen=True):
    """A signature of each call (AWS SigV4). Keys from files, or, without any, from where botocore looks for them."""

    region: str
    service: str = "s3"
    access_key_id_file: str | None = None
    secret_access_key_file: str | None = None
    session_token_file: str | None = None


class Auth(Model, frozen=True):
    """Exactly one."""

    basic: Basic | None = None
    oauth2: OAuth2 | None = None
    aws: Aws | None = None

    @property
    def given(self) -> tuple[str, ...]:
        return tuple(kind for kind in ("basic", "oauth2", "aws") if getattr(self, kind) is not None)


def auth_nonsense(auth: Auth, *, grpc: bool) -> Iterator[tuple[str, str]]:
    """As place and problem. ``grpc``: some of the owner's calls are gRPC calls."""
    if len(auth.given) != 1:
        yield "", f"expected exactly one of basic, oauth2, aws; got {' and '.join(auth.given) or 'none'}"
    if auth.basic is not None and (not auth.basic.username.isprintable() or ":" in auth.basic.username):
        yield "basic.username", "expected printable text without a colon"
    if auth.oauth2 is not None:
        yield from _oauth2_nonsense(auth.oauth2)
    if auth.aws is not None:
        yield from _aws_nonsense(auth.aws)
        if grpc:
            yield "aws", "AWS signs HTTP requests, and this owner is called by gRPC: expected basic or oauth2"


def _oauth2_nonsense(oauth2: OAuth2) -> Iterator[tuple[str, str]]:
    try:
        url = urlsplit(oauth2.token_url)
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
    if not usable or url.fragment or url.username is not None:
        yield "oauth2.token_url", "expected http(s)://host[:port]/path without credentials or fragment"
    elif oauth2.ca is not None and url.scheme == "http":
        yield "oauth2.ca", "expected an https token_url beside ca"
    if not oauth2.client_id.isprintable() or not oauth2.client_id:
        yield "oauth2.client_id", "expected printable text"
    for name in oauth2.parameters:
        if name in _PARAMETERS_OURS or "secret" in name or "password" in name:
            yield f"oauth2.parameters.{name}", "expected no secret here, and nothing that has a field of its own"
    if oauth2.timeout <= 0:
        yield "oauth2.timeout", f"expected more than 0, got {oauth2.timeout:g}"


def _aws_nonsense(aws: Aws) -> Iterator[tuple[str, str]]:
    for name, example in (("region", "eu-central-1"), ("service", "s3")):
        if not _AWS_WORD.fullmatch(getattr(aws, name)):
            yield f"aws.{name}", f"expected a name like {example}, got {getattr(aws, name)!r}"
    if (aws.access_key_id_file is None) != (aws.secret_access_key_file is None):
        yield "aws", "expected both of access_key_id_file and secret_access_key_file, or none"
    elif aws.session_token_file is not None and aws.access_key_id_file is None:
        yield "aws.session_token_file", "expected access_key_id_file and secret_access_key_file beside it"


def headers_nonsense(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Of the owner's constant headers, as place and problem. ``Host`` and ``User-Agent`` may be said."""
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or name.lower() in _FRAMING:
            yield f"headers.{name}", "expected the name of a header that is not one of the connection's or our own"
        elif not _VALUE.fullmatch(value):
            yield f"headers.{name}", "expected a value of printable Latin text without line breaks"


def header_files_nonsense(
    header_files: Mapping[str, str], headers: Mapping[str, str], *, authorized: bool
) -> Iterator[tuple[str, str]]:
    """As place and problem. ``authorized``: ``auth`` or a bearer token says the Authorization header."""
    constant = {name.lower() for name in headers}
    for name in header_files:
        lower = name.lower()
        if not _TOKEN.fullmatch(name) or lower in _OURS:
            yield f"header_files.{name}", "expected the name of a header that is not one of the connection's or our own"
        elif lower in constant:
            yield f"header_files.{name}", "expected it in headers or in header_files, not in both"
    if authorized:
        for where, names in (("headers", headers), ("header_files", header_files)):
            for name in names:
                if name.lower() == "authorization":
                    yield f"{where}.{name}", "auth or bearer_token_file says it: expected no other"
