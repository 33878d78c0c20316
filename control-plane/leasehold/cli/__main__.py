"""``leasehold``: the group, its global options, and what an unexpected end looks like."""

from __future__ import annotations

from importlib.metadata import version

import click

from leasehold.cli.bugreport.command import bug_report
from leasehold.cli.capture import commands as capturing
from leasehold.cli.demo.command import demo
from leasehold.cli.doctor.command import doctor
from leasehold.cli.inspect import commands as inspecting
from leasehold.cli.inspect.shadow import shadow
from leasehold.cli.inspect.status import status
from leasehold.cli.kubernetes import commands as injecting
from leasehold.cli.operate import accepting, trying
from leasehold.cli.operate import commands as operating
from leasehold.cli.operate import rules as ruling
from leasehold.cli.run.command import run
from leasehold.cli.target import Target, parse_endpoints, parse_server, parse_tenant
from leasehold.cli.tenants.roles import etcd_roles
from leasehold.cli.tokens import token_group

FIRST_STEPS = """\b
First steps:
  leasehold demo                                  the main job on real services, in half a minute
  leasehold rules check rules.yaml                is this rule file right?
  leasehold rules test rules.yaml --help          does it see this call?
  leasehold apply -f rules.yaml                   put it into etcd
  leasehold run --config sidecar.yaml -- ./app    run a program under a sidecar
  leasehold get resources --state in-grace        what is about to be deleted?
  leasehold why blob-store/blob/4711              why is this still there, and what happens next?
  leasehold status                                is anything being collected, and if not, why not?
  leasehold doctor                                is this installation fit to delete things?

\b
Shell completion:
  eval "$(_LEASEHOLD_COMPLETE=bash_source leasehold)"     (or zsh_source, fish_source)
"""


@click.group(epilog=FIRST_STEPS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--etcd",
    envvar="LEASEHOLD_ENDPOINTS",
    default="http://127.0.0.1:2379",
    show_default=True,
    show_envvar=True,
    metavar="URL[,URL]",
    help="Where etcd listens.",
)
@click.option(
    "--tenant", envvar="LEASEHOLD_TENANT", default="default", show_default=True, show_envvar=True, help="Whose keys."
)
@click.option(
    "--timeout",
    "deadline",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds a call to etcd may take.",
)
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="Certificates to trust (PEM).")
@click.option("--cert", type=click.Path(exists=True, dir_okay=False), help="Our certificate (PEM), with --key.")
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="Its private key (PEM).")
@click.option("--server-name", help="The name expected in etcd's certificate.")
@click.option("--user", "username", envvar="LEASEHOLD_USER", show_envvar=True, help="etcd user.")
@click.option("--password-file", type=click.Path(exists=True, dir_okay=False), help="Holds that user's password.")
@click.option(
    "--server",
    envvar="LEASEHOLD_SERVER",
    show_envvar=True,
    metavar="URL",
    help="Ask the operator API there (gRPC) instead of etcd. --ca, --cert and --key are then for it.",
)
@click.option(
    "--token-file",
    envvar="LEASEHOLD_TOKEN_FILE",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False),
    help="Holds the token for --server.",
)
@click.version_option(version("leasehold"), prog_name="leasehold")
@click.pass_context
def main(
    context: click.Context,
    etcd: str,
    tenant: str,
    deadline: float,
    ca: str | None,
    cert: str | None,
    key: str | None,
    server_name: str | None,
    username: str | None,
    password_file: str | None,
    server: str | None,
    token_file: str | None,
) -> None:
    """Garbage collection between services: what a dead service left behind in others is found and deleted, safely.

    Exit codes: 0 done, 1 could not be done, 2 bad usage, 78 bad configuration.
    """
    if (cert is None) != (key is None):
        raise click.UsageError("expected --cert and --key together")
    if (username is None) != (password_file is None):
        raise click.UsageError("expected --user and --password-file together")
    context.obj = Target(
        endpoints=parse_endpoints(etcd),
        tenant=parse_tenant(tenant),
        deadline=deadline,
        ca=ca,
        cert=cert,
        key=key,
        server_name=server_name,
        username=username,
        password_file=password_file,
        server=parse_server(server) if server else None,
        token_file=token_file,
    )


@main.command("version")
def print_version() -> None:
    """Print the version."""
    click.echo(f"leasehold {version('leasehold')}")


GROUPS = (inspecting.COMMANDS, ruling.COMMANDS, operating.COMMANDS, capturing.COMMANDS, injecting.COMMANDS)
SINGLE = (status, shadow, doctor, run, demo, etcd_roles, bug_report, token_group)
for command in (*(one for group in GROUPS for one in group), *SINGLE):
    main.add_command(command)
ruling.rules_group.add_command(trying.test)
operating.brake.add_command(accepting.accept)

if __name__ == "__main__":
    main()
