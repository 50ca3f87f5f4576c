"""The documentation as data: tables, headings, code blocks, and the calls that its commands make."""

from __future__ import annotations

import re
from pathlib import Path

from solo.packages import PROJECT

REFERENCE = PROJECT / "docs" / "reference"
PAGES = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").rglob("*.md"))]
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CURL = re.compile(r"(?<![\w-])curl (.*?)(?=\||;|&&|\$\(|$)", re.MULTILINE | re.DOTALL)
ADDRESS = re.compile(r"(?:\$\{?URL\}?|(?:https?://)?(?:localhost|127\.0\.0\.1)(?::\d+)?)(/[^\s'\"?#]*)")
VERB = re.compile(r"(?:-X|--request) +([A-Z]+)")


def text(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text()


def rows(name: str, first: str, cells: int | None = None) -> list[list[str]]:
    """The cells of a page's table rows whose first cell matches, of tables with so many columns where given."""
    lines = [line.strip("| ").split(" | ") for line in text(name).splitlines() if line.startswith("| ")]
    return [found for found in lines if re.fullmatch(first, found[0]) and cells in (None, len(found))]


def codes(cell: str) -> set[str]:
    """What stands in backticks."""
    return set(re.findall(r"`([^`]+)`", cell))


def anchors(page: Path) -> set[str]:
    """What links into a page may name, as code hosts make it of headings."""
    return {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in HEADING.findall(page.read_text())}


def commands(page: Path) -> list[str]:
    """The page's shell blocks, each line whole."""
    return [re.sub(r"\\\n\s*", " ", block) for block in BLOCK.findall(page.read_text())]


def calls(block: str) -> list[tuple[str, str]]:
    """Method and path of each call that a block's curl commands make of Chipmunk."""
    found = []
    for words in CURL.findall(block):
        for path in ADDRESS.findall(words):
            found.append((_method(words), path))
    return found


def _method(words: str) -> str:
    if given := VERB.search(words):
        return given[1]
    if re.search(r"(?:^| )(?:-T|--upload-file) ", words):
        return "PUT"
    return "POST" if re.search(r"(?:^| )(?:-d|-F|--data[a-z-]*|--form) ", words) else "GET"
