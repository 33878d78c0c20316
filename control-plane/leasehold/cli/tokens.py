"""``leasehold token create``: a token for the operator API, and the line that lets it in."""

from __future__ import annotations

import hashlib
import secrets

import click

from leasehold.cli.target import parse_tenant
from leasehold.protocol.names import NAME_EXPECTED, is_name

ROLES = ("viewer", "operator", "admin")


@click.group(name="token")
def token_group() -> None:
    """Tokens for the operator API."""


@token_group.command(epilog="Example: leasehold token create --name ci --role operator")
@click.option("--name", required=True, help="Whose it is: so they are called in the audit.")
@click.option("--role", required=True, type=click.Choice(ROLES), help="What they may do.")
@click.option("--for-tenant", default="default", show_default=True, help="In which tenant; * means any.")
def create(name: str, role: str, for_tenant: str) -> None:
    """Make a token. The first line is the token, to be given to whom it is for and kept nowhere else; the second goes
    into the control plane's file of tokens (`operator.tokens`)."""
    if not is_name(name):
        raise click.BadParameter(f"expected {NAME_EXPECTED}, got {name!r}", param_hint="--name")
    tenant = for_tenant if for_tenant == "*" else parse_tenant(for_tenant)
    token = secrets.token_urlsafe(32)
    click.echo(token)
    click.echo(f"{name} {role} {tenant} sha256:{hashlib.sha256(token.encode()).hexdigest()}")
