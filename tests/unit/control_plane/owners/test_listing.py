"""What a page of a listing says, and what makes it no page at all."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from leasehold.control_plane.core.inventory import Listed
from leasehold.control_plane.owners.listing import BadPage, Page, page_of
from leasehold.control_plane.owners.outcome import Fetched
from leasehold.protocol.lookups import Inventory, Next, Provenance
from leasehold.protocol.names import CallId, ResourceId

PLAIN = Inventory("/v1/blobs?limit=2", "items", "id")
LABELLED = replace(PLAIN, provenance=Provenance("labels.by", "us"))
KEYED = replace(PLAIN, provenance=Provenance("key"))
PAGED = replace(PLAIN, next=Next(cursor="next", parameter="page_token"))
LINKED = replace(PLAIN, next=Next(link=True))
HERE = "http://store/api"


def page(inventory: Inventory, body: object, status: int = 200, **headers: str) -> Page:
    return page_of(inventory, HERE, inventory.path, Fetched(status, headers, json.dumps(body).encode()))


def test_items_are_ours_by_a_label_or_known_by_a_key() -> None:
    body = {
        "items": [{"id": "a", "labels": {"by": "us"}, "key": "k"}, {"id": 2, "labels": {"by": "them"}}, {"id": "c"}]
    }
    assert page(PLAIN, body).items == tuple(Listed(ResourceId(name)) for name in ("a", "2", "c"))
    assert [item.ours for item in page(LABELLED, body).items] == [True, False, False]
    assert page(KEYED, body).items[0] == Listed(ResourceId("a"), False, CallId("k"))
    assert [item.call for item in page(KEYED, body).items] == ["k", "", ""]


@pytest.mark.parametrize(
    ("inventory", "body", "status"),
    [
        (PLAIN, {"items": []}, 404),
        (PLAIN, {"items": []}, 500),
        (PLAIN, {"items": []}, 302),
        (PLAIN, {"items": None}, 200),
        (PLAIN, {"items": {"a": 1}}, 200),
        (PLAIN, {}, 200),
        (PLAIN, [], 200),
        (PLAIN, {"items": [{"id": "a"}, {"name": "b"}]}, 200),
        (PLAIN, {"items": [{"id": ""}]}, 200),
        (PLAIN, {"items": [{"id": True}]}, 200),
        (replace(PLAIN, incarnation="uid"), {"items": [{"id": "a"}]}, 200),
        (PAGED, {"items": [], "next": {"token": "x"}}, 200),
    ],
)
def test_a_page_that_is_not_whole_is_no_page(inventory: Inventory, body: object, status: int) -> None:
    with pytest.raises(BadPage):
        page(inventory, body, status)


def test_a_page_that_was_cut_off_is_no_page() -> None:
    with pytest.raises(BadPage, match="too long"):
        page_of(PLAIN, HERE, PLAIN.path, Fetched(200, {}, b'{"items": []}', whole=False))


@pytest.mark.parametrize(
    ("cursor", "following"),
    [
        (None, None),
        ("", None),
        (False, None),
        ("x&y=z/#", "/v1/blobs?limit=2&page_token=x%26y%3Dz%2F%23"),
        (7, "/v1/blobs?limit=2&page_token=7"),
    ],
)
def test_a_cursor_becomes_one_parameter(cursor: object, following: str | None) -> None:
    assert page(PAGED, {"items": [], "next": cursor}).following == following
    assert page(PLAIN, {"items": [], "next": cursor}).following is None


@pytest.mark.parametrize(
    ("link", "following"),
    [
        ("", None),
        ('<http://store/api/v1/blobs?page=2>; rel="next"', "/v1/blobs?page=2"),
        ("</api/v1/blobs?page=2>; rel=next", "/v1/blobs?page=2"),
        ('<?page=2>; rel="next"', "/v1/blobs?page=2"),
        ('<http://store/api/v1/blobs?page=1>; rel="prev", <http://store/api/v1/blobs?page=3>; rel="next"',
         "/v1/blobs?page=3"),
        ('<http://store/api/v1/blobs?page=9>; rel="last"', None),
    ],
)  # fmt: skip
def test_a_link_is_followed_on_the_same_origin(link: str, following: str | None) -> None:
    assert page(LINKED, {"items": []}, Link=link).following == following


@pytest.mark.parametrize(
    "link",
    ["http://evil/api/v1", "https://store/api/v1", "http://store:81/api/v1", "http://store/apiary", "//evil/api/x"],
)
def test_a_link_to_elsewhere_is_a_bad_page(link: str) -> None:
    with pytest.raises(BadPage, match="the next page"):
        page(LINKED, {"items": []}, Link=f'<{link}>; rel="next"')


@given(st.binary(max_size=300), st.text(max_size=60))
def test_nothing_an_owner_says_breaks_us(body: bytes, link: str) -> None:
    for inventory in (LABELLED, PAGED, LINKED):
        with contextlib.suppress(BadPage):
            page_of(inventory, HERE, inventory.path, Fetched(200, {"Link": f"<{link}>; rel=next"}, body))
