"""Medians, ratios and verdicts of the data plane's benchmark."""

from __future__ import annotations

from tests.bench.peers import results
from tests.bench.peers.results import (
    BAD,
    CPU,
    HTTP1,
    KEPT,
    LOST,
    SATURATION,
    THROUGHPUT,
    Sample,
    Target,
    as_json,
    ratio,
    renewals,
    spread,
    table,
)

CHEAPER = Target(HTTP1, CPU, "sidecar", "envoy", 0.4)
FASTER = Target("download", THROUGHPUT, "sidecar", "envoy tcp", 0.8, at_least=True)


def rounds(load: str, metric: str, **entrants: list[float]) -> list[Sample]:
    return [
        Sample(load, name.replace("_", " "), number, {metric: value})
        for name, values in entrants.items()
        for number, value in enumerate(values, 1)
    ]


def test_a_figure_is_the_median_of_its_rounds_with_least_and_greatest() -> None:
    samples = rounds(HTTP1, CPU, sidecar=[30.0, 10.0, 12.0], envoy=[60.0])
    assert spread(samples, HTTP1, "sidecar", CPU) == (12.0, 10.0, 30.0)
    assert spread(samples, HTTP1, "nginx", CPU) is None


def test_a_ratio_is_taken_within_each_round() -> None:
    # In the second round the machine was twice as slow, for both: that is no difference between them.
    found = ratio(rounds(HTTP1, CPU, sidecar=[20.0, 40.0, 21.0], envoy=[60.0, 120.0, 60.0]), CHEAPER)
    assert (found.value, found.least, found.most) == (20 / 60, 20 / 60, 21 / 60)
    assert found.verdict == "met"


def test_a_target_is_met_at_its_bound_and_not_beyond() -> None:
    assert ratio(rounds(HTTP1, CPU, sidecar=[4.0], envoy=[10.0]), CHEAPER).verdict == "met"
    assert ratio(rounds(HTTP1, CPU, sidecar=[4.1], envoy=[10.0]), CHEAPER).verdict == "NOT MET"
    assert ratio(rounds("download", THROUGHPUT, sidecar=[8.0], envoy_tcp=[10.0]), FASTER).verdict == "met"
    assert ratio(rounds("download", THROUGHPUT, sidecar=[7.9], envoy_tcp=[10.0]), FASTER).verdict == "NOT MET"


def test_what_was_not_measured_is_never_met() -> None:
    assert {one.verdict for one in results.verdicts([]) if one.bound is not None} == {"not measured"}
    assert ratio(rounds(HTTP1, CPU, sidecar=[4.0]), CHEAPER).verdict == "not measured"
    apart = [Sample(HTTP1, "sidecar", 1, {CPU: 1.0}), Sample(HTTP1, "envoy", 2, {CPU: 9.0})]
    assert ratio(apart, CHEAPER).verdict == "not measured"


def test_a_round_with_bad_answers_proves_nothing() -> None:
    samples = [*rounds(HTTP1, CPU, envoy=[10.0]), Sample(HTTP1, "sidecar", 1, {CPU: 1.0, BAD: 3})]
    assert ratio(samples, CHEAPER).verdict == "not measured"
    assert "3 BAD ANSWERS" in table(samples, HTTP1)


def test_one_lost_renewal_is_too_many_and_none_due_proves_nothing() -> None:
    def lost(failed: float, kept: float) -> str:
        return renewals([Sample(SATURATION, "sidecar", 1, {LOST: failed, KEPT: kept})]).verdict

    assert (lost(0, 60), lost(1, 59), lost(0, 0)) == ("met", "NOT MET", "not measured")


def test_the_table_shows_each_entrant_once_and_the_json_all_rounds() -> None:
    samples = rounds(HTTP1, CPU, sidecar=[20.0, 22.0, 21.0], envoy=[60.0, 60.0, 60.0])
    head, ours, theirs = table(samples, HTTP1).splitlines()
    assert head.split() == ["HTTP/1.1", "CPU", "us/req"]
    assert ours.split() == ["sidecar", "21.0", "(20.0-22.0)"]
    assert theirs.split() == ["envoy", "60.0"]
    figures = as_json(samples, results.verdicts(samples))["loads"]
    expected = {"median": 21.0, "min": 20.0, "max": 22.0, "rounds": [20.0, 22.0, 21.0]}
    assert figures[HTTP1]["sidecar"][CPU] == expected  # type: ignore[index]
