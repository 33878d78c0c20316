"""What the collector claims, each with the command that shows it and the figures it prints: ``make proof CLAIM=NAME``.

``python -m tests.proof`` lists the claims; with names it runs their commands, one after the other, and repeats the
lines that matter. Nothing here knows what a figure should be: a command that fails fails the proof.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import time
from typing import NamedTuple

PYTEST = "python -m pytest -n 0 -s -q -p no:cacheprovider "
PASSED = r"\d+ (passed|failed)"
UNIT = "tests/unit/control_plane/"


class Claim(NamedTuple):
    """``figures``: which lines of the command's output to repeat."""

    says: str
    command: str
    figures: str = PASSED


CLAIMS = {
    "shards": Claim(
        "replicas killed, frozen, added and stopped under load: shards move within seconds, each thing is deleted once",
        PYTEST + "tests/integration/test_shards.py",
        rf"acted for: |its share again: |placed anew: |ready after|shards were claimed|{PASSED}",
    ),
    "brake": Claim(
        "the brake trips by itself at more than its part and count, survives a change of hands, and is armed again",
        PYTEST + f"{UNIT}test_brake.py {UNIT}core/test_brake_window.py tests/integration/test_brake.py",
    ),
    "zone": Claim(
        "on real processes: a zone is lost, the brake trips, nothing is swept while it is on, and then all of it",
        "python -m tests.chaos.run --minutes 1 --faults lose-zone",
        r"lose-zone|the brake was tripped|  S5 |  L1 |seed \d+: ",
    ),
    "caps": Claim(
        "caps on sweeps hold per owner and over all, also when shards change hands",
        PYTEST + f"{UNIT}core/test_caps.py {UNIT}test_rations.py {UNIT}core/test_shares.py",
    ),
    "gate": Claim(
        "a replica that does not understand the tenant's version does nothing; a pin keeps whatever happens",
        PYTEST + "tests/unit tests/integration/test_cli.py -k 'version or pin or gate'",
        rf"{PASSED}",
    ),
    "canary": Claim(
        "the collector tests its own guards, and trips if they do not guard",
        PYTEST + f"{UNIT}test_canary.py",
    ),
    "shadow": Claim(
        "rules that only observe are reported on, as right or wrong as they would have been",
        PYTEST + f"{UNIT}test_shadows.py {UNIT}core/test_shadow.py",
    ),
    "owners": Claim(
        "owner calls: conditional, bounded, retried, quarantined; asked (verify) and told (condemn, restore)",
        PYTEST + f"{UNIT}owners {UNIT}test_verify.py {UNIT}test_notices.py tests/integration/test_collector_owners.py",
    ),
    "fairness": Claim(
        "one dead owner of ten costs the others less than 5 %",
        "python -m tests.bench.fairness --rounds 4",
        r"^round|^the nine|^\d+ owners",
    ),
    "leftovers": Claim(
        "what a crashed call created is found by asking, what nobody saw by two listings",
        PYTEST + f"{UNIT}test_intents.py {UNIT}core/test_intents.py {UNIT}test_inventory.py "
        f"{UNIT}core/test_inventory.py tests/e2e/test_leftovers.py",
    ),
    "references": Claim(
        "what something needs stays; rings that nobody holds go as a whole",
        PYTEST + f"{UNIT}test_references.py {UNIT}test_cycles_across_shards.py {UNIT}test_cycles_at_owners.py "
        "tests/e2e/test_collecting_references.py",
    ),
    "model": Claim(
        "every state of the protocol, and what breaks without each guard (--show prints the steps)",
        "python -m tests.model",
        r"states, .* wrong|^\S.* states, ",
    ),
    "machines": Claim("the transactions at random, beside an oracle", PYTEST + "tests/machines"),
    "scenarios": Claim("every trap of docs/traps.md", PYTEST + "tests/scenarios"),
    "chaos": Claim(
        "real processes under every fault, judged from outside",
        "python -m tests.chaos.run --minutes 6",
        r"^chaos, seed|^ +(\d+ +\w|\d+ of|holds|violated|not judged)|invalid:|VIOLATION|leaders revoked",
    ),
}  # fmt: skip


def prove(name: str) -> bool:
    """Run its command; its output passes by on stderr, the figures are repeated on stdout."""
    claim, began, matter = CLAIMS[name], time.monotonic(), re.compile(CLAIMS[name].figures)
    print(f"\n{name}: {claim.says}\n$ {claim.command}", flush=True)
    command = [sys.executable if word == "python" else word for word in shlex.split(claim.command)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", file=sys.stderr)
            if matter.search(line):
                print(f"    {line.rstrip()}", flush=True)
    print(f"    exit code {process.returncode}, {time.monotonic() - began:.0f} s", flush=True)
    return process.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=f"of: {', '.join(CLAIMS)}; or: all")
    chosen = parser.parse_args().claims
    if not chosen:
        for name, claim in CLAIMS.items():
            print(f"{name:11} {claim.says}\n{'':11} $ {claim.command}")
        return 0
    if unknown := sorted({*chosen} - {*CLAIMS, "all"}):
        parser.error(f"unknown claims: {', '.join(unknown)}")
    proven = [prove(name) for name in (CLAIMS if "all" in chosen else chosen)]
    return 0 if all(proven) else 1


if __name__ == "__main__":
    raise SystemExit(main())
