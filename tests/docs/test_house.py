"""The house is kept: rooms of a size, names in order, and nothing of the machine that it was built on."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from solo.packages import PROJECT
from tests.docs.pages import PAGES

LONGEST_FILE, LONGEST_FUNCTION = 300, 50
SAYING = {".py", ".sql", ".template", ".yml", ".toml", ".md"}
TOP = {
    "gateway", "compressor", "nginx", "migrations", "tests", "docker-compose.yml", "README.md", "chipmunk", "solo",
    "benchmarks", "docs", "scripts", "Dockerfile", "pyproject.toml", "CHANGELOG.md", "LICENSE",
}  # fmt: skip
BESIDE = {".ci", ".dockerignore", ".env.example", ".gitignore", "plugins"}
ONE_MACHINE = re.compile(r"(?<![\w.])/(?:work|farm|root|home/\w+)/[\w.]")


@cache
def tracked() -> list[Path]:
    """What git has or would take in."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    told = subprocess.run(listing, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return [PROJECT / line for line in told.splitlines() if (PROJECT / line).is_file()]


def code() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and "tests" not in path.relative_to(PROJECT).parts]


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(PROJECT)}: {node.name}", (node.end_lineno or 0) - node.lineno + 1


def test_no_file_and_no_function_outgrows_its_room() -> None:
    files = {str(path.relative_to(PROJECT)): len(path.read_text().splitlines()) for path in code()}
    assert {name: lines for name, lines in files.items() if lines > LONGEST_FILE} == {}
    long = {name: lines for path in code() for name, lines in functions(path) if lines > LONGEST_FUNCTION}
    assert long == {}


def test_everything_that_has_a_place_at_the_top_is_there_and_nothing_else() -> None:
    found = {path.relative_to(PROJECT).parts[0] for path in tracked()}
    assert found - BESIDE == TOP


def test_no_path_of_one_machine_is_in_it() -> None:
    found = []
    for path in tracked():
        try:
            words = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.name}: {hit[0]}" for hit in ONE_MACHINE.finditer(words)]
    assert found == []


def test_migrations_and_decisions_are_numbered_without_gaps() -> None:
    for folder, suffix in (("migrations", "sql"), ("docs/decisions", "md")):
        names = [path.name for path in (PROJECT / folder).glob(f"*.{suffix}")]
        assert all(re.fullmatch(rf"\d{{4}}[_-][a-z0-9_-]+\.{suffix}", name) for name in names), names
        numbers = sorted(int(name[:4]) for name in names)
        assert numbers == list(range(1, len(numbers) + 1)), folder


def test_decisions_have_their_number_in_the_heading_and_those_that_code_names_are_there() -> None:
    for path in (PROJECT / "docs" / "decisions").glob("*.md"):
        assert path.read_text().startswith(f"# {path.name[:4]}: "), path.name
    numbers = {path.name[:4] for path in (PROJECT / "docs" / "decisions").glob("*.md")}
    for path in (p for p in tracked() if p.suffix in SAYING or p.parent.name == "scripts"):
        words = path.read_text()
        for name in re.findall(r"docs/[\w/-]+\.md", words):
            assert (PROJECT / name).exists(), (path.name, name)
        for number in re.findall(r"\bdecision (\d+)", words):
            assert number.zfill(4) in numbers, (path.name, number)


def test_the_licence_is_apache_2() -> None:
    words = (PROJECT / "LICENSE").read_text()
    assert "Apache License" in words
    assert "Version 2.0, January 2004" in words


def test_each_test_that_a_page_names_is_there() -> None:
    written = "".join(path.read_text() for path in (PROJECT / "tests").rglob("test_*.py"))
    files = {path.name for path in (PROJECT / "tests").rglob("test_*.py")}
    named = {
        (page.name, name) for page in PAGES for name in re.findall(r"`(test_[a-z0-9_]+(?:\.py)?)`", page.read_text())
    }
    assert len(named) > 50
    assert {(p, n) for p, n in named if n not in files and f"def {n}(" not in written} == set()
