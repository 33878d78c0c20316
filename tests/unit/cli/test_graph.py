"""The picture of who needs what: all of it, or what one resource is connected with."""

from __future__ import annotations

from leasehold.operating.explain import explain
from leasehold.operating.graph import dot, graph, row
from leasehold.operating.states import resource_view
from leasehold.protocol import transactions as tx
from leasehold.protocol.names import Resource
from leasehold.protocol.records import HoldRecord, ResourceRecord, TombstoneRecord, encode
from tests.unit.cli.pictures import BLOB, KEYS, MAKER, OTHER, Picture

LONE = Resource.parse("store/blob/lone")


def referring(*pairs: tuple[Resource, Resource], cycle: tuple[Resource, ...] = ()) -> Picture:
    """A picture of sources with their targets, held by nobody; all of ``cycle`` condemned together."""
    picture = Picture()
    for source in dict.fromkeys((*(one for one, _ in pairs), LONE)):
        targets = tuple(target for one, target in pairs if one == source)
        record = ResourceRecord("i", "create-blob", "5s", MAKER, references=tuple(map(tuple, targets)))  # type: ignore[arg-type]
        picture.put(KEYS.record(source), encode(record))
        picture.put(KEYS.hold(source, MAKER), encode(HoldRecord("b", 1)))
        for target in targets:
            picture.put(KEYS.ref(target, source), b"{}")
    for member in cycle:
        stone = TombstoneRecord("i", "a cycle", 1, cycle=tuple(map(tuple, cycle)))  # type: ignore[arg-type]
        picture.put(KEYS.tombstone(member), encode(stone))
    return picture


def test_only_what_is_connected_is_shown_around_a_resource() -> None:
    picture = referring((BLOB, OTHER), (OTHER, BLOB)).taken()
    assert [node.resource for node in graph(picture, BLOB).resources] == [str(BLOB), str(OTHER)]
    assert len(graph(picture, None).resources) == 3


def test_a_picture_for_graphviz_cannot_be_broken_out_of() -> None:
    nasty = Resource.parse('store/blob/a"] -> "b\\')
    drawn = dot(graph(referring((nasty, OTHER)).taken(), None))
    assert '"store/blob/a\\"] -> \\"b\\\\" -> "store/blob/other";' in drawn
    assert drawn.startswith("digraph leasehold {")


def test_a_dead_cycle_is_told_as_one() -> None:
    picture = referring((BLOB, OTHER), (OTHER, BLOB), cycle=(OTHER, BLOB)).taken()
    (first, second) = graph(picture, BLOB).resources
    assert row(first)[-1] == str(OTHER)
    assert "style=dashed" in dot(graph(picture, BLOB))
    found = explain(picture, BLOB, resource_view(picture, BLOB, None), {})
    assert found is not None
    assert any(f"condemned as a whole with {OTHER}" in one and f"{OTHER} first" in one for one in found.sentences)
    assert second.cycle == (str(OTHER), str(BLOB))


def test_a_reference_to_everything_is_told_on_both_sides() -> None:
    picture = referring((BLOB, tx.every(OTHER))).taken()
    about_the_kept = explain(picture, LONE, resource_view(picture, LONE, None), {})
    about_the_source = explain(picture, BLOB, resource_view(picture, BLOB, None), {})
    assert about_the_kept is not None
    assert about_the_source is not None
    assert any("refers to everything of type blob" in one for one in about_the_kept.sentences)
    assert any("could not be read, so it keeps everything" in one for one in about_the_source.sentences)
    assert resource_view(picture, BLOB, None).referenced_by == (), "it does not keep itself"
