"""Whatever is sent, a pod is injected or left alone for a reason; and what is injected is never injected again."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from leasehold.control_plane.inject.review import BadReview, read_review
from leasehold.injection.decision import Refusal
from leasehold.injection.injecting import Injection, inject
from leasehold.injection.manifests import places
from leasehold.injection.patch import applied
from leasehold.injection.pod import Namespace, Pod
from tests.unit.injection.pods import ENABLED, NAMES, OWNERS, review, settings

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["/", "~1", "${X}", "$(X)"])
JUNK = st.recursive(
    SCALARS, lambda more: st.lists(more, max_size=3) | st.dictionaries(st.text(max_size=8), more, max_size=3)
)
MANIFESTS = st.dictionaries(
    st.sampled_from(["kind", "metadata", "spec", "items"]), JUNK | st.sampled_from(["Pod", "CronJob", "List"])
)
REVIEWS = {name: review(name)["request"]["object"] for name in NAMES}


def steps(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [path]
    if isinstance(document, list):
        document = dict(enumerate(document))
    for key, value in document.items() if isinstance(document, dict) else ():
        found += steps(value, (*path, key))
    return found


@st.composite
def spoiled_pods(draw: st.DrawFn) -> Any:
    """A real pod with junk in the place of up to three of its parts."""
    pod = copy.deepcopy(REVIEWS[draw(st.sampled_from(NAMES))])
    for _ in range(draw(st.integers(0, 3))):
        path = draw(st.sampled_from(steps(pod)))
        if not path:
            return draw(st.dictionaries(st.sampled_from(["metadata", "spec"]), JUNK))
        parent = pod
        for step in path[:-1]:
            parent = parent[step]
        parent[path[-1]] = draw(JUNK)
    return pod


@given(spoiled_pods())
def test_every_pod_is_injected_or_left_alone_for_a_reason(document: Any) -> None:
    pod = Pod(document, Namespace("shop", ENABLED))
    before = copy.deepcopy(document)
    result = inject(pod, settings(), OWNERS)
    assert document == before
    if isinstance(result, Refusal):
        assert result.code
        assert result.reason
        return
    assert isinstance(result, Injection)
    again = inject(Pod(applied(result.operations, document), pod.namespace), settings(), OWNERS)
    assert isinstance(again, Refusal)
    assert again.code == "already-injected"


@given(MANIFESTS)
def test_no_manifest_is_an_accident(document: Any) -> None:
    for place in places(document, {}, "default"):
        assert str(place)
        inject(place.pod, settings(), None)


@given(st.binary(max_size=200))
def test_whatever_bytes_come_are_a_review_or_are_refused(body: bytes) -> None:
    with contextlib.suppress(BadReview):
        read_review(body)
