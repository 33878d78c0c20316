"""``rules test``: what the sidecar would make of one captured call.

The sidecar's own code says so, in a process of its own (``python -m leasehold.sidecar.explain``): what is printed here
cannot disagree with what is registered in production.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import click
import msgspec

from leasehold.cli.operate.rules import read_rules
from leasehold.cli.operate.telling import print_explanation
from leasehold.cli.render import show
from leasehold.cli.target import Failure
from leasehold.operating.rule_plan import document
from leasehold.protocol.configuration import EX_CONFIG
from leasehold.protocol.rules import RuleSet
from leasehold.protocol.trials import MAX_CAPTURED_BYTES, CapturedGrpc, CapturedHttp, Explanation, Trial

EXPLAIN_SECONDS = 60.0
"""How long the explanation may take: it is a matter of a moment."""
_EX_USAGE = 2

_CAPTURED = click.Path(exists=True, dir_okay=False, allow_dash=True)


@click.command(
    name="test",
    epilog="""\b
Examples:
  curl -sv -X POST http://blobs.internal:8080/v1/blobs -d @new.json > call.txt 2>&1
  leasehold rules test rules.yaml --request call.txt --response call.txt
\b
  curl -is http://blobs.internal:8080/v1/blobs/4711 > response.txt
  printf 'GET /v1/blobs/4711 HTTP/1.1\\nHost: blobs.internal:8080\\n\\n' |
    leasehold rules test rules.yaml --request - --response response.txt
\b
  leasehold rules test rules.yaml --grpc /blobs.v1.Blobs/Create --destination blobs.internal:8080 \\
    --request create.json --response answer.bin
\b
  leasehold rules test rules.yaml --request q.txt --response a.txt -o json | jq '.verdicts[] | select(.matched)'
\b
Exit codes: 0 a rule matched and gave a resource, 1 nothing matched or its id cannot be used, 2 bad usage,
78 bad rule file.
""",
)
@click.argument("rules", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--request", type=_CAPTURED, metavar="FILE", help="The request; - is standard input.")
@click.option("--response", type=_CAPTURED, metavar="FILE", help="The response; - is standard input.")
@click.option("--destination", default="", metavar="HOST[:PORT]", help="Where the connection went to.")
@click.option("--grpc", "path", metavar="/SERVICE/METHOD", help="It is a gRPC call; the files hold its messages.")
@click.option("--status", type=click.IntRange(0, 16), help="The gRPC status.  [default: 0]")
@click.option("--metadata", multiple=True, metavar="NAME:VALUE", help="Metadata of the gRPC answer; repeatable.")
@click.option("-o", "--output", type=click.Choice(("text", "json")), default="text", show_default=True)
@click.pass_context
def test(
    context: click.Context,
    rules: str,
    request: str | None,
    response: str | None,
    destination: str,
    path: str | None,
    status: int | None,
    metadata: Sequence[str],
    output: str,
) -> None:
    """Try RULES on one captured call: which rule matches, what it finds, and if not, the first reason why.

    FILE holds a raw HTTP/1.1 message with LF or CRLF, what `curl -i` prints, or what `curl -v` traces. With --grpc it
    holds the protobuf message, or JSON if the owner has a descriptor_set. Nothing is sent or registered anywhere.
    """
    if [rules, request, response].count("-") > 1:
        raise click.UsageError("expected standard input (-) for one of RULES, --request and --response")
    call: CapturedHttp | CapturedGrpc
    if path is None:
        call = _http_call(request, response, status, metadata)
    else:
        call = _grpc_call(path, request, response, status, metadata, destination)
    found = explained(read_rules(rules), call, destination)
    if output == "json":
        show("json", found, (), ())
    else:
        print_explanation(found)
    context.exit(0 if found.found else 1)


def _http_call(request: str | None, response: str | None, status: int | None, metadata: Sequence[str]) -> CapturedHttp:
    if status is not None or metadata:
        raise click.UsageError("expected --status and --metadata only beside --grpc")
    if request is None or response is None:
        raise click.UsageError("expected --request and --response, or --grpc")
    return CapturedHttp(_content(request, "--request") or b"", _content(response, "--response") or b"")


def _grpc_call(
    path: str,
    request: str | None,
    response: str | None,
    status: int | None,
    metadata: Sequence[str],
    destination: str,
) -> CapturedGrpc:
    if not destination:
        raise click.UsageError("expected --destination beside --grpc: it says whose method that is")
    if path.count("/") != 2 or not path.startswith("/"):
        raise click.BadParameter(f"expected /service/method, got {path!r}", param_hint="--grpc")
    pairs = {}
    for each in metadata:
        name, colon, value = each.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"expected NAME:VALUE, got {each!r}", param_hint="--metadata")
        pairs[name.strip()] = value.strip()
    return CapturedGrpc(path, _content(request, "--request"), _content(response, "--response"), status or 0, pairs)


def _content(path: str | None, option: str) -> bytes | None:
    if path is None:
        return None
    with click.open_file(path, "rb") as file:
        content: bytes = file.read(MAX_CAPTURED_BYTES + 1)
    if len(content) > MAX_CAPTURED_BYTES:
        raise click.BadParameter(f"expected at most {MAX_CAPTURED_BYTES} bytes", param_hint=option)
    return content


def explained(rules: RuleSet, call: CapturedHttp | CapturedGrpc, destination: str) -> Explanation:
    """As the sidecar sees it. Raises ``click.UsageError`` for a call that makes no sense, ``Failure`` for the rest."""
    owners = [document(owner) for owner in rules.owners]
    trial = Trial(owners, [document(rule) for rule in rules.rules], call, destination)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "leasehold.sidecar.explain"],
            input=msgspec.json.encode(trial),
            capture_output=True,
            timeout=EXPLAIN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failure(f"the sidecar's code did not explain the call within {EXPLAIN_SECONDS:g} s") from error
    told = done.stderr.decode(errors="replace").strip()
    if done.returncode == _EX_USAGE:
        raise click.UsageError(told)
    if done.returncode == EX_CONFIG:
        click.echo(f"leasehold: {told}", err=True)
        sys.exit(EX_CONFIG)
    if done.returncode != 0:
        raise Failure(f"the sidecar's code could not explain the call (exit code {done.returncode}): {told}")
    return msgspec.json.decode(done.stdout, type=Explanation)
