"""What both commands are told: files, where they stand, and the settings and rules that would count in the cluster."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import msgspec

from leasehold.cli.operate.rules import read_rules, refuse
from leasehold.cli.rules_in_etcd import rules_in_etcd
from leasehold.cli.target import Target
from leasehold.injection.settings import InjectSection, Settings, settings_nonsense
from leasehold.protocol.configuration import BadConfiguration, Mistake, convert, load
from leasehold.protocol.rules import RuleSet
from leasehold.shell.daemon import read_configuration


@dataclass(frozen=True, slots=True)
class Choices:
    """As typed."""

    files: tuple[str, ...]
    namespace: str
    config: Path | None
    image: str | None
    revision: str | None
    rules: str | None
    from_etcd: bool

    def settings(self, target: Target) -> Settings:
        """Those of the control plane's configuration, as far as given; what is typed beats them. Exits 78."""
        try:
            document = {} if self.config is None else _document(self.config)
            section = convert(InjectSection, document.get("inject") or {}, str(self.config or "<command line>"))
            typed = {"image": self.image, "revision": self.revision}
            section = msgspec.structs.replace(section, **{key: value for key, value in typed.items() if value})
            if not section.etcd.endpoints:
                configured = (document.get("etcd") or {}).get("endpoints") or target.endpoints
                etcd = msgspec.structs.replace(section.etcd, endpoints=tuple(configured))
                section = msgspec.structs.replace(section, etcd=etcd)
            found = Settings(section, version("leasehold"), str(document.get("tenant") or target.tenant))
            mistakes = [Mistake(str(self.config or "--etcd"), *one) for one in settings_nonsense(found)]
        except BadConfiguration as error:
            refuse(error)
        if mistakes:
            refuse(BadConfiguration(mistakes))
        return found

    def known_rules(self, target: Target) -> RuleSet | None:
        """Those of a file or in etcd; ``None``: nobody said. Exits 78."""
        if self.rules is not None and self.from_etcd:
            raise click.UsageError("expected at most one of --rules FILE and --from-etcd")
        if self.rules is not None:
            return read_rules(self.rules)
        return rules_in_etcd(target) if self.from_etcd else None


def _document(path: Path) -> dict[str, Any]:
    """The control plane checks the rest of it."""
    return load(dict[str, Any], read_configuration(path), str(path), os.environ)


def choices_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of both commands; the command gets them as ``Choices``."""

    @functools.wraps(command)  # takes the options along that it has already
    def with_choices(**typed: Any) -> None:
        names = Choices.__dataclass_fields__
        chosen = Choices(**{name: typed.pop(name) for name in names})
        command(chosen, **typed)

    for option in reversed(_OPTIONS):
        option(with_choices)
    return with_choices


_OPTIONS = (
    click.option("-f", "--file", "files", multiple=True, required=True, metavar="FILE",
                 help="Manifests, YAML or JSON; - is standard input. Repeatable."),
    click.option("-n", "--namespace", default="default", show_default=True, help="Of what names none."),
    click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="The control plane's configuration: `inject`, etcd and tenant are taken from there."),
    click.option("--image", help="The sidecar's image."),
    click.option("--revision", help="The revision that injects."),
    click.option("--rules", metavar="FILE", help="The rule file with the owners."),
    click.option("--from-etcd", is_flag=True, help="The owners are those in etcd."),
)  # fmt: skip
