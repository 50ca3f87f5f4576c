"""The reference is held to the code: what is undocumented fails, and so does what is documented and not there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from openapi_spec_validator import validate

import nginx.errors  # noqa: F401 - problems of its own
from chipmunk import jobs, metrics
from chipmunk.config import PREFIX, Settings
from chipmunk.errors import every_problem
from chipmunk.operations.openapi import document
from chipmunk.operations.table import OPERATIONS, Operation
from compressor import app as write_side
from compressor import completing, finishing, orphans, sniff, sweep
from compressor.doors import edited
from gateway.api.app import HANDLERS
from gateway.api.routing import routes
from gateway.authorize import Outcome
from solo.packages import PROJECT
from tests.docs.pages import PAGES, anchors, calls, codes, commands, rows, text
from tests.docs.ways import open_to, serving

LATER = (finishing.DOOR, completing.DOOR, edited.DOOR)
THE_SITES_OWN = PREFIX + "URL"  # where the sites of the guides find Chipmunk
SETTINGS = {PREFIX + name.upper(): field for name, field in Settings.model_fields.items()}
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))


def shown(value: object) -> str:
    if isinstance(value, Path):
        return f"`./{value}`"
    told = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"`{told}`" if told else "–"


def bounds(name: str) -> str | None:
    """What the settings' table says of its own accord; None where a validator has the say."""
    field = SETTINGS[name]
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(field.annotation) if word)
    least = next((m.ge for m in field.metadata if hasattr(m, "ge")), None)
    most = next((m.le for m in field.metadata if hasattr(m, "le")), None)
    if least is None:
        return None
    return f"{least} or more" if most is None else f"{least} to {most}"


def test_each_setting_is_there_once_with_its_default_and_bounds() -> None:
    found = rows("settings", rf"`{PREFIX}[A-Z0-9_]+`", cells=5)
    assert sorted(cells[0].strip("`") for cells in found) == sorted(SETTINGS)
    for name, default, _, limits, meaning in ([cells[0].strip("`"), *cells[1:]] for cells in found):
        assert default == shown(SETTINGS[name].default), name
        assert limits == (bounds(name) or limits), name
        assert meaning.endswith("."), name


def test_each_error_is_there_once_with_its_status() -> None:
    found = [(cells[0].strip("`"), int(cells[1])) for cells in rows("errors", r"`\w+`", cells=4)]
    assert sorted(found) == sorted((code, problem.status) for code, problem in every_problem().items())
    of_nginx = text("errors").partition("## nginx's own")[2]
    for problem in every_problem().values():
        assert (f"| `{problem.code}` |" in of_nginx) == problem.__module__.startswith("nginx"), problem.code


def test_each_metric_is_there_with_its_type_and_labels() -> None:
    found = {cells[0].strip("`"): (cells[1], cells[2]) for cells in rows("metrics", r"`chipmunk_\w+`", cells=5)}
    assert found == {
        name: (kind, ", ".join(f"`{label}`" for label in labels) or "–")
        for name, (kind, _, labels) in metrics.TABLE.items()
    }


def test_each_label_is_explained_for_each_metric_that_has_it() -> None:
    found = [(metric, cells[1].strip("`")) for cells in rows("metrics", "`.*", cells=3) for metric in codes(cells[0])]
    assert sorted(found) == sorted((name, label) for name, (_, _, labels) in metrics.TABLE.items() for label in labels)


def test_labels_have_the_values_that_the_code_gives_them() -> None:
    told = {(m, c[1].strip("`")): codes(c[2]) for c in rows("metrics", "`.*", cells=3) for m in codes(c[0])}
    kinds = set(jobs.KINDS)
    swept = set(re.findall(r'_count\(\s*"(\w+)"', Path(sweep.__file__).read_text()))
    assert told["chipmunk_jobs_total", "kind"] == kinds
    assert told["chipmunk_swept_total", "kind"] == swept
    assert told["chipmunk_decisions_total", "outcome"] == {o.value for o in Outcome} | {"unavailable"}
    assert told["chipmunk_uploads_total", "door"] == {*write_side.DOORS, *LATER, "precheck"}
    assert told["chipmunk_upload_seconds", "door"] == {*write_side.DOORS, *LATER}


def test_each_call_is_there_with_who_takes_answers_and_errors_of_its_own() -> None:
    found = {cells[0].split("`")[1]: cells for cells in rows("api", r"`[A-Z]+ /.*", cells=7)}
    assert set(found) == {f"{o.method} {o.path}" for o in OPERATIONS}
    for operation in OPERATIONS:
        call, who, scope, _, answers, errors, _ = found[f"{operation.method} {operation.path}"]
        assert re.findall(r"[?&](\w+)=", call) == list(operation.query), call
        assert (who, scope) == (operation.who, f"`{operation.scope}`" if operation.scope else "–"), call
        assert {int(n) for n in re.findall(r"\b\d{3}\b", answers)} == {operation.status, *operation.also}, call
        assert codes(answers) == ({operation.answer.__name__} if operation.answer else set()), call
        assert codes(own_errors(operation, errors)) == {p.code for p in operation.problems}, call


def own_errors(operation: Operation, cell: str) -> str:
    if "#errors-of-uploads" not in cell:
        return cell
    return cell + text("api").partition("### Errors of uploads\n")[2].partition("\n##")[0]


def test_the_openapi_document_is_valid_and_has_each_call() -> None:
    whole = document("http://127.0.0.1:8080")
    validate(whole)  # type: ignore[arg-type]
    found = {f"{method.upper()} {path}" for path, methods in whole["paths"].items() for method in methods}
    assert found == {f"{o.method} {o.path}" for o in OPERATIONS}


def test_each_call_of_a_side_is_routed_there_and_nothing_else_is() -> None:
    assert {o.name for o in OPERATIONS if o.side == "api"} == set(HANDLERS)
    assert {route.path for route in routes(HANDLERS)} == {o.path for o in OPERATIONS if o.side != "nginx"}
    public = [route for route in write_side.ROUTES if route.path != "/livez" and not route.path.startswith("/-/")]
    served = {(method, route.path) for route in public for method in route.methods or ()}
    assert served == {(o.method, o.path) for o in OPERATIONS if o.side == "compressor"}


def test_nginx_sends_each_call_to_its_side_and_takes_no_other() -> None:
    for operation in OPERATIONS:
        assert serving(operation.method, concrete(operation.path)) == operation.side, operation.path
    assert open_to({concrete(o.path) for o in OPERATIONS} | {"/no-view/12/", f"/{'a' * 30}/12/"}) == set()
    for path in (
        "/",
        "/v1",
        "/enter",
        "/v2/media",
        "/-/precheck",
        "/-/done",
        "/-/original/0.jpg",
        "/decide",
        "/livez/",
    ):
        assert serving("GET", path) is None, path


def concrete(path: str) -> str:
    return re.sub(r"{\w+}", "a" * 66, path.replace("{quality}", "3"))


def test_each_format_is_there_with_its_type_and_suffix() -> None:
    kinds = {*sniff.KINDS, sniff.sniff(BMP)}
    found = {(cells[2], cells[3].strip("`"), cells[4].strip("`")) for cells in rows("formats", ".+", cells=5)[1:]}
    expected = {(k.kind, k.mime, f"{k.kind}.{k.extension}") for k in kinds if k is not None}
    assert found - {("---", "---", "---")} == expected


BMP = b"BM" + b"\0" * 12 + (40).to_bytes(4, "little")


def test_sweeps_are_as_old_as_the_reference_says() -> None:
    pace, page = sweep.Pace(), text("storage")
    for words in (
        f"every {pace.every:.0f} seconds",
        f"once {pace.spooled / 60:.0f} minutes old",
        f"after {pace.quarantined / 3600:.0f} hours, deleted",
        f"once {pace.lost / 60:.0f} minutes old, queued again",
        f"the next {pace.folders:,}",
        f"more than {orphans.TOLERATED} of them and more than a hundredth",
    ):
        assert words in page, words
    assert (pace.leftover, pace.orphaned, orphans.SHARE) == (60, 3600, 0.01)
    assert "once a minute old" in page
    assert "once an hour old, into" in page


def test_each_dependency_has_its_reason() -> None:
    project: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(w for extra in project["optional-dependencies"].values() for w in extra)]
    names = {re.split(r"[\[<>=; ]", word)[0] for word in wanted} - {project["name"]}
    section = (PROJECT / "README.md").read_text().split("## Dependencies")[1]
    assert {name for name in names if f"`{name}`" not in section} == set()
    assert set(re.findall(r"`([a-z-]+)`", section)) <= names


@EVERY_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        found = page.parent / path if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


@EVERY_PAGE
def test_pages_name_only_what_there_is(page: Path) -> None:
    words = page.read_text()
    for name in re.findall(rf"\b{PREFIX}[A-Z0-9_]*[A-Z]\b", words):
        assert name.removesuffix("_FILE") in {*SETTINGS, THE_SITES_OWN}, name
    for script in re.findall(r"\bscripts/(\w+)", words):
        assert (PROJECT / "scripts" / script).exists(), script
    series = {name + end for name in metrics.TABLE for end in ("", "_bucket", "_sum", "_count")}
    for name in re.findall(r"\bchipmunk_[a-z_]+_(?:total|seconds|bucket)\b", words):
        assert name in series, name


@EVERY_PAGE
def test_commands_make_only_calls_that_there_are(page: Path) -> None:
    shapes = [(o.method, re.compile(re.sub(r"{\w+}", r"[^/]+", o.path))) for o in OPERATIONS]
    for block in commands(page):
        for method, path in calls(block):
            if "$" in path.split("/")[0] + path.split("/")[1] or not path.strip("/"):
                continue  # an address that an answer gave, or the service as a whole
            assert any(m == method and shape.fullmatch(path) for m, shape in shapes), f"{method} {path}"


def test_readme_is_short_and_its_two_commands_are_the_scripts() -> None:
    readme = (PROJECT / "README.md").read_text()
    assert len(readme.splitlines()) <= 120
    assert "```sh\nscripts/run\n```" in readme
    assert "```sh\nscripts/test\n```" in readme
