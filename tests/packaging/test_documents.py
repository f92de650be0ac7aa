"""The documents: links lead somewhere, and every page can be found from an index."""

import pathlib
import re

import pytest

from support import documents

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```$|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def links(page: pathlib.Path) -> list[str]:
    return LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8")))


def anchors(page: pathlib.Path) -> set[str]:
    """The names of a page's headings, as they are linked to."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


def broken(page: pathlib.Path) -> list[str]:
    found = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


def test_every_link_between_documents_leads_somewhere() -> None:
    pages = documents.files("*.md")
    assert len(pages) >= 10
    assert {str(page): broken(page) for page in pages if broken(page)} == {}


@pytest.mark.parametrize("index", ["docs/README.md", "docs/decisions/README.md"])
def test_every_page_stands_in_the_index_of_its_folder(index: str) -> None:
    page = documents.ROOT / index
    listed = {(page.parent / link.partition("#")[0]).resolve() for link in links(page)}
    assert set(page.parent.glob("*.md")) - {page} - listed == set()


def test_decisions_are_numbered_without_gap_and_tell_why() -> None:
    pages = sorted((documents.ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [page.name[:5] for page in pages] == [f"{n:04}-" for n in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {page.name[:4]}: "), page.name
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
        ], page.name
