"""A long list, page by page: all of it once, whatever comes and goes meanwhile."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.control_plane.core.pages import BadPage, Page


def walk(values: list[str], size: int, order_by: str) -> list[list[str]]:
    pages, token = [], ""
    while True:
        page: Page[str] = Page(size, token, order_by, ("name", "length"))
        for value in values:
            page.offer((value,) if page.order == "name" else (len(value), value), value)
        found, token = page.close()
        assert page.total == len(values)
        pages.append(found)
        if not token:
            return pages


@given(
    st.sets(st.text(max_size=4), max_size=40), st.integers(1, 7), st.sampled_from(["", "-name", "length", "-length"])
)
def test_all_pages_together_are_the_sorted_list(values: set[str], size: int, order_by: str) -> None:
    pages = walk(sorted(values, key=hash), size, order_by)
    key = (lambda one: (len(one), one)) if "length" in order_by else str
    assert [one for page in pages for one in page] == sorted(values, key=key, reverse=order_by.startswith("-"))
    assert all(len(page) == size for page in pages[:-1])


def test_what_comes_and_goes_between_two_pages_moves_nothing_else() -> None:
    first: Page[str] = Page(2, "", "", ("name",))
    for value in "abcdef":
        first.offer((value,), value)
    shown, token = first.close()
    second: Page[str] = Page(3, token, "", ("name",))
    for value in "a1cdxef":  # b is gone, 1 and x are new
        second.offer((value,), value)
    assert (shown, second.close()[0]) == (["a", "b"], ["c", "d", "e"])


def test_a_token_fits_only_the_question_it_was_given_for() -> None:
    first: Page[str] = Page(1, "", "", ("name",), "owner=a")
    for value in "ab":
        first.offer((value,), value)
    token = first.close()[1]
    with pytest.raises(BadPage, match="another question"):
        Page(1, token, "", ("name",), "owner=b")
    for wrong in ("?", "AAAA", token[:-3], "W10"):
        with pytest.raises(BadPage):
            Page(1, wrong, "", ("name",), "owner=a")
    for size in (-1, 1001):
        with pytest.raises(BadPage):
            Page(size, "", "", ("name",))


def test_a_token_that_somebody_made_up_is_refused() -> None:
    first: Page[str] = Page(1, "", "", ("name",))
    mark = first._mark
    made_up = urlsafe_b64encode(f"[{mark}, 7]".encode()).decode().rstrip("=")
    with pytest.raises(BadPage):
        Page(1, made_up, "", ("name",)).offer(("a",), "a")
