"""No link in any page of the repository leads nowhere: the file is there, and so is the heading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not {".venv", ".peers", "node_modules"} & set(path.relative_to(ROOT).parts) and ".pytest_cache" not in path.parts
)
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!`)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+(?:\([^()]*\))?)\)")


def headings(page: Path) -> set[str]:
    """The anchors of a page, as a forge makes them of its headings."""
    found: set[str] = set()
    for line in _FENCE.sub("", page.read_text()).splitlines():
        if heading := re.match(r"#{1,6} (.+)", line):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            slug = re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")
            found.add(slug if slug not in found else f"{slug}-1")
    return found | set(re.findall(r'<a (?:id|name)="([^"]+)"', page.read_text()))


def links(page: Path) -> Iterator[str]:
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text()))
    yield from (link for link in _LINK.findall(text) if not re.match(r"[a-z]+:", link))


def wrong(page: Path, link: str) -> str | None:
    """What is wrong with a link; ``None`` if nothing is."""
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.exists():
        return f"{link}: no such file"
    if anchor and target.suffix == ".md" and anchor not in headings(target):
        return f"{link}: no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [said for link in links(page) if (said := wrong(page, link))] == []


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading, with `code`\n[one](other.md) [two](#nothing) [three](#a-heading-with-code)\n")
    assert [said for link in links(page) if (said := wrong(page, link))] == [
        "other.md: no such file",
        "#nothing: no such heading",
    ]


def test_every_page_of_the_documentation_is_in_its_index() -> None:
    index = ROOT / "docs/README.md"
    named = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    assert [page.name for page in (ROOT / "docs").glob("*.md") if page != index and page.resolve() not in named] == []
