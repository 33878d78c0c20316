"""``leasehold demo``: the command. What it does is in ``evening``, which is imported only when it is wanted."""

from __future__ import annotations

import importlib.util

import click

from leasehold.cli.target import Failure

NEEDED = ("boto3", "moto")


@click.command(
    epilog="""\b
Examples:
  leasehold demo
  leasehold demo --json            (for machines: the verdict is the only thing on stdout)
  leasehold demo --keep            (look around afterwards: get, why, doctor)
  LEASEHOLD_ETCD=/usr/bin/etcd leasehold demo
"""
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the verdict as JSON, alone on stdout; the story goes to stderr."
)
@click.option("--keep", is_flag=True, help="Leave everything running, print the addresses, end on Ctrl-C.")
@click.option(
    "--within", default=60.0, show_default=True, type=click.FloatRange(10), help="Seconds until it must be over."
)
def demo(as_json: bool, keep: bool, within: float) -> None:
    """The main job, on real processes: create, crash, collect; then compare with what the owners really have.

    An etcd, two control planes, two owners (moto's S3 API and a playground owner) and programs that know nothing of
    Leasehold, each beside its sidecar. Exits 0 only if nothing leaked and nothing in use was touched.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise Failure(f"{' and '.join(missing)} missing; expected: pip install 'leasehold[demo]'")
    from leasehold.cli.demo.evening import give  # half a second that no other command should wait for

    give(as_json=as_json, keep=keep, within=within)
