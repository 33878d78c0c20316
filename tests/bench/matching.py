"""What a lookup of rules costs per request, and how that grows with their number.

``python -m tests.bench.matching [--most N]``. Each shape of a rule set is measured with 1, 10, 100, 1,000 and 10,000
rules; a lookup is what the observer does with a request head: the owner by its authority, then the candidates by method
and path. Times are nanoseconds of CPU, the best of several runs; the last column is the ratio of 1,000 rules to 10.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from leasehold.protocol.rules import HolderKind, Match, On, Owner, Rule, RuleSet, Source
from leasehold.sidecar.observe.matching import Matcher

COUNTS = (1, 10, 100, 1_000, 10_000)
_RUNS = 7
_RUN_SECONDS = 0.02


@dataclass(frozen=True)
class Shape:
    """A kind of rule set. ``rule`` tells of the n-th rule its owner, method and path."""

    name: str
    rule: Callable[[int], tuple[int, str, str]]
    matched: tuple[str, str, str]
    """Authority, method and target of a call that the first rule is about."""
    unmatched: tuple[str, str, str]

    def rules(self, count: int) -> RuleSet:
        told = [self.rule(n) for n in range(count)]
        owners = [Owner(f"o{n}", (_host(n),), "http://o") for n in sorted({owner for owner, _, _ in told})]
        return RuleSet(tuple(owners), tuple(_rule(n, *one) for n, one in enumerate(told)))


def _host(owner: int) -> str:
    return f"o{owner}.test:8080"


def _rule(n: int, owner: int, method: str, path: str) -> Rule:
    return Rule(f"r{n}", f"o{owner}", "t", On.USE, Match(method, path, (200,)), Source(path="id"), HolderKind.PROCESS)


HOST = _host(0)
BLOB = "/v1/kind0/4711"
SHAPES = (
    Shape(
        "one prefix", lambda n: (0, "POST", f"/v1/kind{n}/{{id}}"), (HOST, "POST", BLOB), (HOST, "POST", "/v1/kind/1")
    ),
    Shape(
        "other method", lambda n: (0, "POST", f"/v1/kind{n}/{{id}}"), (HOST, "POST", BLOB), (HOST, "GET", BLOB)
    ),
    Shape(
        "variable first", lambda n: (0, "POST", f"/{{team}}/kind{n}/{{id}}"), (HOST, "POST", BLOB),
        (HOST, "POST", "/v1/kind/1"),
    ),
    Shape(
        "deep", lambda n: (0, "POST", f"/apis/x.io/v1/namespaces/{{ns}}/kind{n}/{{id}}/parts/{{part}}"),
        (HOST, "POST", "/apis/x.io/v1/namespaces/default/kind0/4711/parts/1"),
        (HOST, "POST", "/apis/x.io/v1/namespaces/default/kind0/4711/pieces/1"),
    ),
    Shape(
        "object keys", lambda n: (0, "POST", f"/bucket{n}/{{+id}}"), (HOST, "POST", "/bucket0/a/b/c/d.jpg"),
        (HOST, "POST", "/bucket/a/b/c/d.jpg"),
    ),
    Shape("many hosts", lambda n: (n, "POST", "/v1/kind0/{id}"), (HOST, "POST", BLOB), ("x.test", "POST", BLOB)),
    Shape(
        "query", lambda n: (0, "POST", f"/v1/kind{n}/{{id}}"), (HOST, "POST", f"{BLOB}?trace=1"),
        (HOST, "POST", "/v2/other?page=2&size=100"),
    ),
)  # fmt: skip


def _nanoseconds(matchers: Sequence[Matcher], call: tuple[str, str, str]) -> list[float]:
    """Of CPU, for each matcher; they take turns, so that what else the machine does spoils no single one."""
    authority, method, target = call

    def once(matcher: Matcher, times: int) -> float:
        begun = time.process_time()
        for _ in range(times):
            rules = matcher.owner_rules(authority, "")
            if rules is not None:
                rules.candidates(method, target)
        return (time.process_time() - begun) / times * 1e9

    enough = [max(int(_RUN_SECONDS * 1e9 / max(once(matcher, 100), 10)), 1) for matcher in matchers]
    runs = [[once(*one) for one in zip(matchers, enough, strict=True)] for _ in range(_RUNS)]
    return [min(times) for times in zip(*runs, strict=True)]


def _found(matcher: Matcher, call: tuple[str, str, str]) -> int:
    rules = matcher.owner_rules(call[0], "")
    return 0 if rules is None else len(rules.candidates(*call[1:]))


def _lines(counts: tuple[int, ...]) -> Iterator[str]:
    yield f"{'ns per lookup':<38}" + "".join(f"{count:>9,}" for count in counts) + f"{'1000/10':>10}"
    for shape in SHAPES:
        matchers = [Matcher.compile(shape.rules(count)) for count in counts]
        for word, call, expected in (("unmatched", shape.unmatched, 0), ("matched", shape.matched, 1)):
            if any(_found(matcher, call) != expected for matcher in matchers):
                raise SystemExit(f"{shape.name}, {word}: expected {expected} candidates")
            took = _nanoseconds(matchers, call)
            ratio = f"{took[counts.index(1000)] / took[counts.index(10)]:>10.2f}" if 1000 in counts else ""
            yield f"{shape.name + ', ' + word:<38}" + "".join(f"{one:>9,.0f}" for one in took) + ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--most", type=int, default=COUNTS[-1], help="leave out larger rule sets")
    most = parser.parse_args().most
    for line in _lines(tuple(count for count in COUNTS if count <= most)):
        print(line)
        sys.stdout.flush()
    begun = time.perf_counter()
    Matcher.compile(SHAPES[0].rules(COUNTS[-1]))
    print(f"compiling {COUNTS[-1]:,} rules took {time.perf_counter() - begun:.2f} s")


if __name__ == "__main__":
    main()
