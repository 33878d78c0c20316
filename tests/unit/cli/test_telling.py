"""How an explanation is told to a person."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.cli.operate.telling import details, headline, print_explanation
from leasehold.protocol.trials import Explanation, Verdict

CREATED = Verdict(
    "create-blob", "create", True, "", "", "blobs/blob/b-1", 'etag:"7"', "timer", 3600.0, "observe", "sweep",
    "before-request", ("request", "response"), 2.0, ("rule create-blob: mode sweep has no effect",),
)  # fmt: skip
PASSED = msgspec.structs.replace(
    CREATED, rule="make-blob", matched=False, reason="status", why="status 201 is not among 202", resource=None
)
FOUND = Explanation(
    "POST", "/v1/blobs", 201, "blobs.test", "", "blobs", "authority", {"blobs": ("blobs.test",)}, (CREATED, PASSED),
    "", ("the response is taken as HTTP/1.1",),
)  # fmt: skip
replace = msgspec.structs.replace


def test_what_would_be_registered_is_told_line_by_line() -> None:
    told = "\n".join(details(CREATED))
    for part in ("blobs/blob/b-1", 'etag:"7"', "timer of 3600 s", "observe (sweep is not permitted)", "at most 2 s"):
        assert part in told
    assert "the request and the response would wait" in told


def test_what_it_needs_is_told_and_why_that_may_be_too_much() -> None:
    told = "\n".join(details(replace(CREATED, references=("blobs/part/1", "blobs/part/*"), doubt="no ids at parts")))
    assert "needs         blobs/part/1, blobs/part/*" in told
    assert "no ids at parts" in told
    assert "needs" not in "\n".join(details(CREATED))


def test_what_waits_for_nothing_says_so() -> None:
    assert "nothing would wait" in "\n".join(details(replace(CREATED, holds=())))


def test_our_own_name_for_a_call_is_not_shown_as_an_incarnation() -> None:
    told = "\n".join(details(replace(CREATED, incarnation="call:this-call")))
    assert "this-call" not in told
    assert "our name for the call" in told


def test_an_unusable_id_says_that_nothing_is_registered_and_why() -> None:
    told = "\n".join(details(replace(CREATED, resource=None, incarnation=None, reason="pattern", why="because")))
    assert "nothing is registered (pattern): because" in told


@pytest.mark.parametrize(
    ("found", "part"),
    [
        (FOUND, "known by the host blobs.test"),
        (replace(FOUND, known_by="destination", destination="10.0.0.7:80"), "known by the address 10.0.0.7:80"),
        (replace(FOUND, owner=None, verdicts=(), trouble="x names no owner"), "Known are blobs: blobs.test"),
        (replace(FOUND, owner=None, verdicts=(), trouble="x names no owner"), "No rule can match: x names no owner."),
    ],
)
def test_whose_call_it_is_comes_first(found: Explanation, part: str) -> None:
    assert part in "\n".join(headline(found))


def test_remarks_and_warnings_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_explanation(FOUND)
    said = capsys.readouterr()
    assert "status 201 is not among 202" in said.out
    assert said.err.splitlines() == [
        "remark: the response is taken as HTTP/1.1",
        "warning: rule create-blob: mode sweep has no effect",
    ]
