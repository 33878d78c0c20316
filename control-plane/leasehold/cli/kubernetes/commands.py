"""``leasehold inject`` and ``leasehold analyze``: what the webhook does, on manifests; and what is wrong with them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from leasehold.cli.kubernetes.choices import Choices, choices_options
from leasehold.cli.kubernetes.yaml_files import read_manifests, write_manifests
from leasehold.cli.operate.rules import refuse
from leasehold.cli.render import output_option, show
from leasehold.cli.target import Target, pass_target
from leasehold.injection.analysis import Finding, Level, about_pod
from leasehold.injection.analysis_rules import about_rules, services_in
from leasehold.injection.conventions import NAMESPACE_LABEL
from leasehold.injection.decision import Refusal
from leasehold.injection.injecting import inject as inject_pod
from leasehold.injection.manifests import Place, namespace_labels, patched, places
from leasehold.injection.settings import ON_LOOPBACK, Settings, all_on_loopback
from leasehold.protocol.configuration import BadConfiguration
from leasehold.protocol.rules import Owner


@click.command(
    epilog="""\b
Examples:
  leasehold --etcd http://etcd.leasehold-system:2379 inject -f deploy.yaml --rules rules.yaml | kubectl apply -f -
  kubectl get deploy -n shop -o yaml | leasehold inject -f - --from-etcd | kubectl apply -f -
\b
Exit codes: 0 all that should be injected is, 1 something is not (its reason is on stderr, and it is printed as it
was), 2 bad usage, 78 bad configuration.
"""
)
@choices_options
@pass_target
def inject(target: Target, choices: Choices) -> None:
    """Put the sidecar into the pods of manifests, as the webhook does with pods, and print all of them.

    Being asked for here is enough: the label of a namespace is not needed. A pod's own label leasehold.dev/inject:
    "false" counts all the same.
    """
    settings = choices.settings(target)
    rules = choices.known_rules(target)
    documents = _read(choices)
    labels = namespace_labels(documents)
    results, refused = [], False
    for document in documents:
        result, refusals = _injected(document, settings, None if rules is None else rules.owners, labels, choices)
        results.append(result)
        refused |= any(refusal.asked for refusal in refusals)
    if all_on_loopback(settings.section.etcd.endpoints):
        click.echo(f"warning: {ON_LOOPBACK}: say with --etcd, or --config, where pods reach it", err=True)
    click.echo(write_manifests(results), nl=False)
    sys.exit(1 if refused else 0)


def _injected(
    document: Any, settings: Settings, owners: Sequence[Owner] | None, labels: Mapping[str, Any], choices: Choices
) -> tuple[Any, list[Refusal]]:
    """A document with all of its pods injected; why some are not. On stderr each pod is accounted for."""
    refusals = []
    for place in _asked_for(document, labels, choices.namespace):
        result = inject_pod(place.pod, settings, owners)
        if isinstance(result, Refusal):
            click.echo(f"{place}: not injected: {result}", err=True)
            refusals.append(result)
            continue
        document = patched(document, place, result.operations)
        click.echo(f"{place}: injected as service {result.service}", err=True)
        for note in result.notes:
            click.echo(f"{place}: note: {note}", err=True)
    return document, refusals


def _asked_for(document: Any, labels: Mapping[str, Mapping[str, str]], default: str) -> list[Place]:
    """Its pods, as if their namespaces were labelled; a namespace that is not known is taken to be plain."""
    every = {place.pod.namespace.name for place in places(document, labels, default)}
    return list(places(document, {one: {**labels.get(one, {}), NAMESPACE_LABEL: "enabled"} for one in every}, default))


@click.command(
    epilog="""\b
Examples:
  leasehold analyze -f deploy.yaml --rules rules.yaml
  kubectl get ns,svc,pods -A -o yaml | leasehold analyze -f - --config control-plane.yaml --from-etcd
  leasehold analyze -f all.yaml -o json | jq '.[] | select(.level == "fail")'
"""
)
@choices_options
@output_option
@pass_target
def analyze(target: Target, choices: Choices, output: str) -> None:
    """Say what is wrong with pods that are, or should be, injected, and with the rules. Exits 1 if anything fails.

    Everything is taken from the manifests: with namespaces and services among them, more can be told.
    """
    settings = choices.settings(target)
    rules = choices.known_rules(target)
    documents = _read(choices)
    labels = namespace_labels(documents)
    findings: list[Finding] = []
    for document in documents:
        for place in places(document, labels, choices.namespace):
            findings += about_pod(place, settings, None if rules is None else rules.owners)
    if rules is not None:
        findings += about_rules(rules, services_in(documents, choices.namespace))
    order = {Level.FAIL: 0, Level.WARN: 1, Level.OK: 2}
    findings.sort(key=lambda finding: order[finding.level])
    rows = [(one.level.value, one.code, one.where, one.what, one.hint) for one in findings]
    show(output, findings, ("level", "code", "where", "finding", "hint"), rows)
    sys.exit(1 if any(one.level is Level.FAIL for one in findings) else 0)


def _read(choices: Choices) -> list[Any]:
    try:
        return read_manifests(choices.files)
    except BadConfiguration as error:
        refuse(error)


COMMANDS: Sequence[click.Command] = (inject, analyze)
