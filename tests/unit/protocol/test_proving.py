"""What proves to an owner that the collector may ask: what a document may say, and every mistake with its place."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.protocol.configuration import to_json
from leasehold.protocol.rules import Aws, OAuth2
from tests.unit.protocol.test_rules import GOOD, load, only_mistake

OAUTH2 = "oauth2: {token_url: 'https://id/token', client_id: me, client_secret_file: /s"


def with_owner(*lines: str) -> str:
    return "".join(f"{line}\n    " for line in lines) + "limits:"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("auth: {}", "auth: expected exactly one of basic, oauth2, aws; got none"),
        ("auth: {aws: {region: r}, basic: {username: u, password_file: p}}", "auth: expected exactly one of basic"),
        ("auth: {basic: {username: 'a:b', password_file: p}}", "auth.basic.username: expected printable"),
        ("auth: {oauth2: {token_url: 'ftp://x', client_id: c, client_secret_file: s}}", "auth.oauth2.token_url: exp"),
        ("auth: {oauth2: {token_url: 'http://u:p@x', client_id: c, client_secret_file: s}}", "auth.oauth2.token_url"),
        (f"auth: {{{OAUTH2}, parameters: {{client_secret: x}}}}}}", "auth.oauth2.parameters.client_secret: exp"),
        (f"auth: {{{OAUTH2}, timeout: 0s}}}}", "auth.oauth2.timeout: expected more than 0"),
        (f"auth: {{{OAUTH2}, client_id: ''}}}}", "auth.oauth2.client_id: expected printable"),
        (f"auth: {{{OAUTH2}, ca: x}}}}".replace("https:", "http:"), "auth.oauth2.ca: expected an https token_url"),
        ("auth: {aws: {region: 'EU West'}}", "auth.aws.region: expected a name like eu-central-1"),
        ("auth: {aws: {region: r, service: ''}}", "auth.aws.service: expected a name like s3"),
        ("auth: {aws: {region: r, access_key_id_file: f}}", "auth.aws: expected both of access_key_id_file and"),
        ("auth: {aws: {region: r, session_token_file: f}}", "auth.aws.session_token_file: expected access_key_id_"),
        ("header_files: {If-Match: f}", "header_files.If-Match: expected the name of a header"),
        ("header_files: {'a b': f}", "header_files.a b: expected the name of a header"),
    ],
)  # fmt: skip
def test_nonsense_is_named_with_its_place(said: str, expected: str) -> None:
    if said.count("client_id: ") == 2:
        said = said.replace("client_id: me, ", "")
    assert only_mistake("limits:", with_owner(said)).startswith(f"rules.yaml: owners[0].{expected}")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("bearer_token_file: t", "auth: {aws: {region: r}}"), "auth: expected only one of auth and bearer_token"),
        (("headers: {X-Key: v}", "header_files: {x-key: f}"), "header_files.x-key: expected it in headers or in"),
        (("headers: {authorization: v}", "bearer_token_file: t"), "headers.authorization: auth or bearer_token_file"),
        (("header_files: {Authorization: f}", "auth: {aws: {region: r}}"), "header_files.Authorization: auth or"),
    ],
)
def test_what_contradicts_itself_is_named(said: tuple[str, str], expected: str) -> None:
    assert only_mistake("limits:", with_owner(*said)).startswith(f"rules.yaml: owners[0].{expected}")


def test_a_key_without_a_certificate_is_a_mistake() -> None:
    text = GOOD.replace("endpoint: http:", "endpoint: https:").replace("limits:", with_owner("tls: {cert: c, key: k}"))
    assert load(text).owners[0].tls is not None
    with pytest.raises(Exception, match=r"owners\[0\]\.tls\.key: expected a cert beside the key"):
        load(text.replace("cert: c, ", ""))


def test_each_kind_of_proof_survives_the_way_through_etcd() -> None:
    for said, kind in ((f"auth: {{{OAUTH2}}}}}", OAuth2), ("auth: {aws: {region: eu-central-1}}", Aws)):
        rules = load(GOOD.replace("limits:", with_owner(said, "header_files: {X-Api-Key: /k}"), 1))
        auth = rules.owners[0].auth
        assert auth is not None
        assert isinstance(auth.oauth2 or auth.aws, kind)
        assert msgspec.json.decode(to_json(rules))["owners"][0]["header_files"] == {"X-Api-Key": "/k"}


def test_a_grpc_owner_cannot_sign_with_aws() -> None:
    from tests.unit.protocol.test_owner_calls import BY_GRPC

    with pytest.raises(Exception, match=r"auth\.aws: AWS signs HTTP requests"):
        load(BY_GRPC.replace("limits:", with_owner("auth: {aws: {region: r}}"), 1))
    with pytest.raises(Exception, match=r"header_files\.Host: "):
        load(BY_GRPC.replace("limits:", with_owner("header_files: {Host: f}"), 1))
