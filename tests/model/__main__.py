"""``python -m tests.model``: search every world, leave out every guard, and say what was found.

``--show NAME`` prints the steps to what breaks without the guards whose names contain NAME, ``--show`` alone those of
every guard; ``--worlds A,B`` searches only these.
"""

from __future__ import annotations

import argparse
import time

from tests.model.proof import Searched, backed, guards, judged, searched
from tests.model.spare import SPARE


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description="the proof, searched anew")
    parser.add_argument(
        "--show", metavar="NAME", nargs="?", const="", help="steps to what breaks without guards of this name"
    )
    parser.add_argument("--worlds", metavar="A,B", help="only these worlds")
    chosen = parser.parse_args()
    began = time.process_time()
    worlds, wrong = [], 0
    for one in searched(chosen.worlds.split(",") if chosen.worlds else None):
        worlds.append(one)
        wrong += _world(one)
    print("\nWithout ...                                            steps  what breaks")
    for guard in guards(worlds):
        if chosen.show is None or chosen.show in guard:
            wrong += _guard(worlds, guard, steps=chosen.show is not None) and not chosen.worlds
    states = sum(one.states for one in worlds)
    print(f"\n{len(worlds)} worlds, {states} states, {time.process_time() - began:.0f} s of one core; {wrong} wrong")
    return 1 if wrong else 0


def _world(one: Searched) -> bool:
    print(f"{one.name:18} {one.states:6} states, {one.depth:2} steps deep, {one.seconds:5.1f} s  {one.title}")
    for step in one.found.broken:
        print(f"    {step}")
    if one.stuck:
        print(f"    from {one.stuck} states no way leads to the end")
    return bool(one.found.broken or one.stuck)


def _guard(worlds: list[Searched], guard: str, *, steps: bool) -> bool:
    spare = SPARE.get(guard)
    found = judged(worlds, (guard,))
    if spare is not None and spare.backed_by and not found.counterexample.steps:
        found = backed(worlds, guard, spare.backed_by) or found
    path = found.counterexample.steps
    if path:
        print(f"{found.guard:55} {len(path):3}  {path[-1]} ({found.world})")
    else:
        print(f"{guard:55}   -  {'spare: ' + spare.why if spare else 'nothing breaks in these worlds'}")
    if steps:
        for n, step in enumerate(path, 1):
            print(f"    {n:2} {step}")
    return not path and spare is None


if __name__ == "__main__":
    raise SystemExit(main())
