"""The reference is held to the code: what is undocumented fails, and so does what is documented and not there."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from openapi_spec_validator import validate

import nginx.errors  # noqa: F401 - problems of its own
from chipmunk import metrics
from chipmunk.config import PREFIX, Settings
from chipmunk.errors import every_problem
from chipmunk.operations.openapi import document
from chipmunk.operations.table import OPERATIONS
from gateway.api.app import HANDLERS
from nginx.render import render
from solo.packages import PROJECT

REFERENCE = PROJECT / "docs" / "reference"
PAGES = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").rglob("*.md"))]
THE_SITES_OWN = PREFIX + "URL"  # where the sites of the guides find Chipmunk
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def text(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text()


def rows(name: str, first: str) -> list[list[str]]:
    """The cells of a page's table rows whose first cell matches."""
    lines = [line.strip("| ").split(" | ") for line in text(name).splitlines() if line.startswith("| ")]
    return [cells for cells in lines if re.fullmatch(first, cells[0])]


def shown(value: object) -> str:
    told = ",".join(map(str, value)) if isinstance(value, tuple) else str(value or ("0" if value == 0 else ""))
    return f"`{told}`" if told else "–"


def test_each_setting_is_there_with_its_default_and_its_meaning() -> None:
    found = {cells[0].strip("`"): cells[1:] for cells in rows("settings", rf"`{PREFIX}[A-Z_]+`")}
    assert set(found) == {PREFIX + name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        default = "`./var`" if name == "data_dir" else shown(field.get_default(call_default_factory=True))
        assert found[PREFIX + name.upper()][0] == default, name
        assert (field.description or "").rstrip(".") in found[PREFIX + name.upper()][1], name


def test_each_error_is_there_with_its_status_and_sentence() -> None:
    found = {cells[1].strip("`"): (int(cells[0]), cells[2]) for cells in rows("errors", r"\d{3}")}
    assert found == {code: (problem.status, problem.sentence) for code, problem in every_problem().items()}


def test_each_metric_is_there_with_its_type_and_labels() -> None:
    found = {cells[0].strip("`"): (cells[1], cells[2]) for cells in rows("metrics", r"`chipmunk_\w+`")}
    expected = {
        name: (kind, ", ".join(f"`{label}`" for label in labels) or "–")
        for name, (kind, _, labels) in metrics.TABLE.items()
    }
    assert found == expected
    explained = {cells[0].split()[0].strip("`") for cells in rows("metrics", r"`[a-z]+`( of \w+)?")}
    assert {label for _, _, labels in metrics.TABLE.values() for label in labels} <= explained


def test_each_call_is_there_and_no_other() -> None:
    found = {cells[0].split("`")[1] for cells in rows("api", r"`[A-Z]+ /.*")} - {"PUT /v1/media`, the body is the file"}
    calls = {f"{o.method} {o.path}" for o in OPERATIONS}
    assert found == calls
    documented = document("http://x")["paths"]
    assert {f"{method.upper()} {path}" for path, methods in documented.items() for method in methods} == calls


def test_each_call_is_served_and_nginx_knows_the_way() -> None:
    served = {o.name for o in OPERATIONS if o.side == "api"}
    assert served == set(HANDLERS)
    locations = re.findall(r"location (?:= |~ )?\"?([^ \"{]+)", render(Settings()))
    for operation in OPERATIONS:
        top = "/" + operation.path.split("/")[1]
        assert top.startswith("/{") or any(place.startswith(top) for place in locations), operation.path


def test_the_openapi_document_is_valid() -> None:
    validate(document("http://127.0.0.1:8080"))  # type: ignore[arg-type]


def test_each_dependency_has_its_reason() -> None:
    project: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(w for extra in project["optional-dependencies"].values() for w in extra)]
    names = {re.split(r"[\[<>=; ]", word)[0] for word in wanted} - {project["name"]}
    section = (PROJECT / "README.md").read_text().split("## Dependencies")[1]
    assert {name for name in names if f"`{name}`" not in section} == set()
    assert set(re.findall(r"`([a-z-]+)`", section)) <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Any) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://", "#")):
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path
        assert found.exists(), target
        if anchor:
            headings = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in HEADING.findall(found.read_text())}
            assert anchor in headings, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_pages_name_only_what_there_is(page: Any) -> None:
    words = page.read_text()
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {THE_SITES_OWN}
    for name in re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", words):
        assert name.removesuffix("_FILE") in known, name
    for script in re.findall(r"\bscripts/(\w+)", words):
        assert (PROJECT / "scripts" / script).exists(), script
    series = {name + end for name in metrics.TABLE for end in ("", "_bucket", "_sum", "_count")}
    for name in re.findall(r"\bchipmunk_[a-z_]+_(?:total|seconds|bucket)\b", words):
        assert name in series, name


def test_readme_is_short_and_its_two_commands_are_the_scripts() -> None:
    readme = (PROJECT / "README.md").read_text()
    assert len(readme.splitlines()) <= 120
    assert "```sh\nscripts/run\n```" in readme
    assert "```sh\nscripts/test\n```" in readme
