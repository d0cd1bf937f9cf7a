"""The pages of questions, and their tables of contents; the links of all pages. (Their examples are doctests.)"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "scratch" / "QUESTIONS.md", ROOT / "reference" / "QUESTIONS.md"]
PACKAGES = ROOT / "scratch", ROOT / "reference", ROOT / "benchmarks"
LINKING = sorted([ROOT / "README.md", *(page for package in PACKAGES for page in package.rglob("*.md"))])


def anchor(title: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def prose(page: Path) -> str:
    """The page without its code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def contents(text: str) -> list[str]:
    """A link to each heading below the title."""
    headings = re.findall(r"^##(#?) (.*)$", text, flags=re.MULTILINE)
    return [f"{'  ' if deeper else ''}- [{title}](#{anchor(title)})" for deeper, title in headings]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_every_question_is_in_the_contents(page: Path) -> None:
    text = prose(page)
    assert contents(text)
    assert re.findall(r"^ *- \[.*\]\(#.*\)$", text, flags=re.MULTILINE) == contents(text)


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", prose(page))
    for target, place in links:
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not place or place in map(anchor, re.findall(r"^#+ (.*)$", prose(file), flags=re.MULTILINE)), place
