"""One run: a world, a nemesis, healing, the end of everybody, and the verdict. ``make chaos MINUTES=60 SEED=7``.

Exit codes: 0 the laws hold, 1 a law was violated, 3 the run proves nothing (no fault took effect, or the witness missed
something). ``--judge FOLDER`` only judges a history that was recorded before.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random, SystemRandom

from tests.chaos.beliefs import Promises, beliefs_of, life_of, referrals_of, told_of
from tests.chaos.faults import KINDS
from tests.chaos.history import OTHER_COLLECTOR, Ending, History, Terms, load, read_lines, save
from tests.chaos.judgement import EXIT_CODES, Result
from tests.chaos.nemesis import Nemesis, Say, abandon, attachment, heal, settle
from tests.chaos.parts import Settings
from tests.chaos.report import counts, judged, write
from tests.chaos.world import NAMES, World, faketime, nothing_left

CLOCKS = "shift-wall-clock"
QUEUE_SECONDS = 60.0
"""What the queue, a warm-up, a fail-over, and the longer TTL of services and timers may add to TTL + 2G at the end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. ``rounds``: each lane goes through its kinds so many times; ``None``: until the time is over."""

    seed: int
    seconds: float
    kinds: tuple[str, ...] = tuple(KINDS)
    rounds: int | None = None
    pairs: int = 4
    ttl: int = 3
    grace: int = 3
    leader_ttl: int = 3
    hold_deadline: float = 3.0
    idle: float = 2.5
    pause: float = 0.15
    warm: float = 5.0
    """Seconds of peace before the first fault."""


async def record(plan: Plan, folder: Path, say: Say) -> History:
    """Run it. The history is also left in the folder, with every part's log."""
    random = Random(plan.seed)
    settings = Settings(
        folder, "chaos", plan.ttl, plan.grace, plan.leader_ttl, plan.hold_deadline, plan.idle, plan.pause, names=NAMES
    )
    terms = Terms("chaos", plan.ttl, plan.grace, plan.hold_deadline, plan.seed, ("files",))
    history = History(terms)
    world = World(settings, random, pairs=plan.pairs, most_pairs=plan.pairs + 4 + round(plan.seconds))
    with nothing_left(world):
        async with world:
            await _live_through(world, plan, history, random, say)
    return history


async def _live_through(world: World, plan: Plan, history: History, random: Random, say: Say) -> None:
    nemesis = Nemesis(world, plan.seed, plan.kinds, say)
    telling = asyncio.create_task(_tell(world, say))
    try:
        await asyncio.sleep(plan.warm)
        say(f"seed {plan.seed}: faults for {plan.seconds:.0f} s")
        await nemesis.rage(time.monotonic() + plan.seconds, rounds=plan.rounds)
        say("healing")
        await heal(world)
        healed = time.monotonic()
        attached_by, revision, living = await attachment(world)
        await abandon(world, random)
        abandoned = time.monotonic()
        say("everybody has ended; waiting until nothing is left")
        await settle(world, plan.ttl + 2 * plan.grace + QUEUE_SECONDS)
        settled = time.monotonic()
        contents = (one for owner in world.owners.values() for one in owner.contents())
        left = tuple(one for one in contents if not _is_other(one.who))
        history.ending = Ending(healed, attached_by, revision, living, abandoned, settled, left)
        await world.witness.close()
    except Exception as error:  # noqa: BLE001 - a run that broke is judged as far as it went
        history.gaps.append(f"the run broke: {error!r}")
    finally:
        telling.cancel()
    if world.broken is not None:
        history.gaps.append(f"a part of the test itself broke: {world.broken!r}")
    history.faults = sorted([*nemesis.faults, *world.stalls], key=lambda fault: fault.began)
    _gather(world, plan, history)
    save(history, world.settings.folder)


def _gather(world: World, plan: Plan, history: History) -> None:
    """Put together what everybody wrote down."""
    history.events = world.witness.events
    history.gaps += world.witness.gaps
    history.falls = world.falls
    calls = sorted((call for owner in world.owners.values() for call in owner.ledger), key=lambda call: call.arrived)
    history.calls = [call for call in calls if not _is_other(call.who)]
    history.others = [call for call in calls if _is_other(call.who)]
    history.usages = world.deeds.usages
    lives = [(pair, list(read_lines(pair.log))) for pair in world.crowd.pairs]
    history.lives = [life_of(pair.life, lines) for pair, lines in lives]
    ends = max((life.ended for life in history.lives), default=0.0)
    promises = Promises(plan.idle, {"notes": world.settings.timer}, frozenset({"teams"}), ends)
    for life, (pair, lines) in zip(history.lives, lives, strict=True):
        history.told += told_of(pair.name, lines)
        history.referrals += referrals_of(pair.name, lines)
        history.beliefs += beliefs_of(life, lines, promises)


def _is_other(who: str) -> bool:
    """Whether it is of the other tenant."""
    return who == OTHER_COLLECTOR or who.startswith("program:o")


async def _tell(world: World, say: Say) -> None:
    while True:
        await asyncio.sleep(20)
        say(counts(world))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="of faults; healing comes on top")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--pairs", type=int, default=Plan(0, 0).pairs, help="programs that live at a time")
    parser.add_argument("--faults", default="", help=f"comma-separated, of: {', '.join(KINDS)}")
    parser.add_argument("--folder", type=Path, default=None, help="for the report, histories and logs")
    parser.add_argument("--judge", type=Path, default=None, help="judge the history in this folder, run nothing")
    options = parser.parse_args(arguments)
    if options.judge:
        judgements, result = judged(load(options.judge))
        print(write(options.judge, load(options.judge), judgements, result))
        return EXIT_CODES[result]
    seed = SystemRandom().randrange(10**6) if options.seed is None else options.seed
    folder = options.folder or Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    plan = Plan(seed, options.minutes * 60, pairs=options.pairs)
    if options.faults:
        plan = replace(plan, kinds=tuple(options.faults.split(",")))
    if faketime() is None and CLOCKS in plan.kinds:
        print(f"{CLOCKS} is left out: libfaketime is not here (Debian: apt-get install faketime)")
        plan = replace(plan, kinds=tuple(kind for kind in plan.kinds if kind != CLOCKS))
    print(f"seed {seed}, {options.minutes:g} minutes, everything in {folder}", flush=True)
    return EXIT_CODES[run(plan, folder, narrator())]


def run(plan: Plan, folder: Path, say: Say) -> Result:
    """Record, judge, write the report, and say it."""
    history = asyncio.run(record(plan, folder, say))
    judgements, result = judged(history)
    say("\n" + write(folder, history, judgements, result))
    for data in folder.glob("etcd-m*"):
        if data.is_dir():
            shutil.rmtree(data, ignore_errors=True)
    return result


def narrator() -> Say:
    began = time.monotonic()
    return lambda text: print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
