"""Changed exchanges against both observers for a while: ``python -m tests.fuzz --minutes 10`` (``make fuzz``).

Every case is one number, printed when a law breaks; ``--only NUMBER`` runs it again. ``--seed`` chooses where to begin.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time
import traceback
from collections import Counter

import structlog

from tests.fuzz.laws import hold
from tests.fuzz.mutation import case

STALLED = 20.0
"""Seconds for one case."""


async def run(seed: int) -> str:
    """What the case came to."""
    rules, turns = case(seed)
    async with asyncio.timeout(STALLED):
        found = await hold(rules, turns, flooded=seed % 3 == 0)
    return (found.gave_up or ("followed to the end",))[0] + (", something seen" if found.seen else "")


async def main(minutes: float, first: int) -> int:
    until = time.monotonic() + 60 * minutes
    came_to: Counter[str] = Counter()
    failed = 0
    print(f"beginning with --seed {first}", flush=True)
    seed = first
    while time.monotonic() < until and failed < 10:
        try:
            came_to[await run(seed)] += 1
        except Exception:  # noqa: BLE001 - whatever it is, it is a finding
            failed += 1
            traceback.print_exc()
            print(f"again: python -m tests.fuzz --only {seed}", flush=True)
        seed += 1
    for what, count in came_to.most_common():
        print(f"{count:9} {what}")
    print(f"{seed - first} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9) * 1000)
    parser.add_argument("--only", type=int, help="Run this one case.")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if arguments.only is not None:
        print(asyncio.run(run(arguments.only)))
    else:
        sys.exit(asyncio.run(main(arguments.minutes, arguments.seed)))
