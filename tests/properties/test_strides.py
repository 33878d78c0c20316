"""A long range read in parts: every key once and in order, and about as much looked at as is returned."""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b

from hypothesis import given, settings
from hypothesis import strategies as st

from leasehold.protocol.etcd.strides import Strides
from leasehold.protocol.store import KeyRange

KEYS = st.lists(st.binary(min_size=1, max_size=6) | st.binary(min_size=300, max_size=303), unique=True, max_size=60)


def read(keys: list[bytes], where: KeyRange, page_size: int) -> tuple[list[bytes], int, int]:
    """As etcd would answer. What came, how many keys it looked at, and how often it was asked."""
    strides = Strides(where, page_size)
    came: list[bytes] = []
    looked = asked = 0
    while (part := strides.part) is not None:
        assert where.start <= part.start < part.end <= where.end
        fitting = keys[bisect_left(keys, part.start) : bisect_left(keys, part.end)]
        page = fitting[:page_size]
        looked, asked = looked + len(fitting), asked + 1
        assert asked < 100_000, "it never ends"
        came += page
        strides.took(page[0] if page else b"", page[-1] if page else b"", len(page), len(fitting) - len(page))
    return came, looked, asked


@settings(max_examples=500, deadline=None)
@given(KEYS, st.integers(1, 20))
def test_every_key_comes_once_and_in_order(tails: list[bytes], page_size: int) -> None:
    keys = sorted(b"/a/" + tail for tail in tails)
    others = [b"/", b"/a", b"/a0", b"/b"]
    came, _, _ = read(sorted([*keys, *others]), KeyRange.under(b"/a/"), page_size)
    assert came == keys


@settings(max_examples=200, deadline=None)
@given(KEYS, st.integers(1, 20))
def test_it_ends_at_the_end_of_the_range_whatever_it_is(tails: list[bytes], page_size: int) -> None:
    keys = sorted(b"/" + tail for tail in tails)
    for end in keys:
        came, _, _ = read(keys, KeyRange(b"/", end), page_size)
        assert came == [key for key in keys if key < end]


def test_little_more_is_looked_at_than_is_returned() -> None:
    kinds = (b"beacons/", b"holds/store/blob/", b"holds/store/thumbnail/", b"resources/store/blob/", b"roster/", b"z/")
    keys = sorted(
        b"/leasehold/1/t/" + kind + blake2b(b"%d" % n, digest_size=8).hexdigest().encode()
        for kind in kinds
        for n in range(10_000)
    )
    came, looked, asked = read(keys, KeyRange.under(b"/leasehold/1/t/"), 500)
    assert came == keys
    assert looked < 6 * len(keys), "always up to the end would be sixty times as much"
    assert asked < 3 * len(keys) / 500


def test_a_range_that_fits_into_a_page_is_asked_for_once() -> None:
    assert read([b"/a/1", b"/a/2"], KeyRange.under(b"/a/"), 5)[2] == 1
