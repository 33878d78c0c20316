"""A header block that was decoded before means the same again: with a memory and without, the same fields come out."""

from __future__ import annotations

from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from leasehold.sidecar.observe.header_blocks import MAX_TABLE, HeaderBlocks

NAMES = st.sampled_from([b"date", b"etag", b":status", b"x-a", b"x-b"])
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from([b"1", b"200", b"value " * 20])), min_size=1, max_size=4)


def literal(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def inserting(fields: list[tuple[bytes, bytes]]) -> bytes:
    """As servers write it that keep no table of their own: each field a literal, and each one is to be inserted."""
    return b"".join(b"\x40" + literal(name) + literal(value) for name, value in fields)


Step = tuple[str, list[tuple[bytes, bytes]] | int]


@given(
    st.lists(
        st.tuples(st.sampled_from(["encoded", "inserting", "both"]), FIELDS)
        | st.tuples(st.just("resize"), st.sampled_from([0, 60, 200, 4096])),
        max_size=30,
    )
)
def test_what_is_remembered_is_what_would_be_decoded(steps: list[Step]) -> None:
    encoder, plain, ours = Encoder(), Decoder(), HeaderBlocks()
    plain.max_allowed_table_size = MAX_TABLE
    ours.allow(MAX_TABLE)
    for how, what in steps:
        if isinstance(what, int):
            if what != encoder.header_table_size:  # set twice to the same, hpack forgets to say it
                encoder.header_table_size = what  # said with the next block
            continue
        block = b"" if how == "inserting" and not encoder.table_size_changes else encoder.encode(what)
        if how != "encoded":
            block += inserting(what)
            for name, value in what:
                encoder.header_table.add(name, value)
        theirs = tuple((bytes(name), bytes(value)) for name, value in plain.decode(block, raw=True))
        assert ours.decode(block).fields == theirs
        table = [(bytes(name), bytes(value)) for name, value in ours._table.dynamic_entries]
        assert table == [(bytes(name), bytes(value)) for name, value in plain.header_table.dynamic_entries]


def test_a_block_that_looks_into_the_table_is_decoded_anew_once_that_has_changed() -> None:
    blocks = HeaderBlocks()
    first, second, looks = inserting([(b"x-a", b"1")]), inserting([(b"x-a", b"2")]), b"\xbe"
    for _ in range(3):
        assert blocks.decode(first).fields == ((b"x-a", b"1"),)
        assert blocks.decode(looks).fields == ((b"x-a", b"1"),)
        assert blocks.decode(second).fields == ((b"x-a", b"2"),)
        assert blocks.decode(looks).fields == ((b"x-a", b"2"),)
