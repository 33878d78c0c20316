"""Every row of the table of answers."""

from __future__ import annotations

import pytest

from leasehold.control_plane.owners.outcome import Verdict, of_delete, of_read, retry_after


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((200, 201, 203, 204, 206), Verdict.GONE),
        ((202,), Verdict.PENDING),
        ((404, 410), Verdict.ABSENT),
        ((409, 412, 423, 406, 422, 428), Verdict.REFUSED),
        ((400, 401, 403, 405, 300, 301, 302, 304, 307, 308), Verdict.MISCONFIGURED),
        ((429, 503), Verdict.WAIT),
        ((408, 425, 500, 501, 502, 504, 599, 100, 199, 0, 600, 999), Verdict.UNKNOWN),
    ],
)
def test_what_an_answer_to_a_delete_means(statuses: tuple[int, ...], verdict: Verdict) -> None:
    assert {of_delete(status) for status in statuses} == {verdict}


def test_what_an_answer_to_a_read_means() -> None:
    assert of_read(200) is None
    assert of_read(404) is of_read(410) is Verdict.ABSENT
    assert of_read(403) is of_read(302) is Verdict.MISCONFIGURED
    assert of_read(503) is Verdict.WAIT
    assert of_read(412) is of_read(422) is of_read(500) is Verdict.UNKNOWN, "a read refuses nothing"


def test_no_status_at_all_means_gone_but_a_success_or_a_plain_not_there() -> None:
    gone = {status for status in range(1000) if of_delete(status) in {Verdict.GONE, Verdict.ABSENT}}
    assert gone == ({*range(200, 300)} - {202}) | {404, 410}


def test_retry_after_is_told_in_seconds_or_by_the_owners_own_clock() -> None:
    date, later = "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:30 GMT"
    assert retry_after("120", None) == 120
    assert retry_after(later, date) == 30
    assert retry_after(date, later) == 0
    assert retry_after("1000000", None) == 3600
    for nonsense in ("soon", "-1", "", "1.5", "٣"):
        assert retry_after(nonsense, date) is None
    assert retry_after(later, None) is None
    assert retry_after(None, date) is None
