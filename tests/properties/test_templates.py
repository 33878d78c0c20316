"""An id never leaves its place in a path: expanding and matching are inverse, and what is unsafe is refused."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.protocol.templates import BadTemplate, PathTemplate, UnsafeId

ids = st.one_of(
    st.text(min_size=1, max_size=20),
    st.sampled_from(["..", ".", "", "/", "a/b", "a/../b", "a//b", "%2e%2e", "a?b", "a#b", "a b", "ü", "\ud800", "a\0"]),
)
ONE = PathTemplate.compile("/v1/blobs/{id}/meta")
SEVERAL = PathTemplate.compile("/bucket/{+key}")


@given(ids)
def test_what_was_expanded_matches_again_to_the_same_id(text: str) -> None:
    for template, name in ((ONE, "id"), (SEVERAL, "key")):
        try:
            path = template.expand({name: text})
        except UnsafeId:
            continue
        assert template.match(path) == {name: text}


@given(ids)
def test_an_expanded_id_stays_in_its_place(text: str) -> None:
    try:
        path = ONE.expand({"id": text})
    except UnsafeId:
        return
    assert path.isascii()
    assert path.count("/") == 4
    assert urlsplit("http://owner" + path).path == path
    assert not {"", ".", ".."} & set(path.split("/")[1:])


@given(ids)
def test_several_segments_never_climb_or_collapse(text: str) -> None:
    try:
        path = SEVERAL.expand({"key": text})
    except UnsafeId:
        return
    assert path.startswith("/bucket/")
    assert not {"", ".", ".."} & set(path.split("/")[1:])


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30))
def test_a_matched_path_names_one_resource_only(tail: str) -> None:
    # Two raw paths may be spellings of one id; one id never stands for two different decoded paths.
    try:
        found = SEVERAL.match("/bucket/" + tail)
    except UnsafeId:
        return
    if found is not None:
        assert SEVERAL.match(SEVERAL.expand(found)) == found


@pytest.mark.parametrize(
    "path",
    ["/v1/blobs/%2e%2e/meta", "/v1/blobs/../meta", "/v1/blobs/%ff/meta", "/v1/blobs/%zz/meta", "/v1/blobs/%00/meta"],
)
def test_a_path_with_an_unsafe_value_is_refused_not_guessed(path: str) -> None:
    with pytest.raises(UnsafeId):
        ONE.match(path)


def test_an_encoded_slash_is_part_of_a_one_segment_id() -> None:
    assert ONE.match("/v1/blobs/a%2Fb/meta") == {"id": "a/b"}
    assert ONE.expand({"id": "a/b"}) == "/v1/blobs/a%2Fb/meta"


def test_an_encoded_slash_among_plain_ones_is_refused() -> None:
    with pytest.raises(UnsafeId):
        SEVERAL.match("/bucket/a%2Fb/c")


@pytest.mark.parametrize(
    "path", ["/v1/blobs/", "/v1/blobs//meta", "/v1/blobs/a/b/meta", "/v1/blobs/a/metadata", "/v2/blobs/a/meta"]
)
def test_other_paths_do_not_match(path: str) -> None:
    assert ONE.match(path) is None


@pytest.mark.parametrize(
    "text", ["v1/{id}", "/v1/{id", "/v1/id}", "/v1/{+a}/b", "/v1/{a}/{a}", "/v1?x={id}", "/v1/{}", "/v1/{a-b}"]
)
def test_a_template_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(BadTemplate):
        PathTemplate.compile(text)
