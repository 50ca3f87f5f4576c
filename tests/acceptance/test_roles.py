"""Who gets how far with every call: the table of docs/reference/roles.md, tried in each role on the running system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chipmunk.operations.table import OPERATIONS
from tests import models
from tests.client import App, photo
from tests.compressor.site import endless, served, told
from tests.harness import System, scratch
from tests.roles.calls import CALLS
from tests.roles.stage import MAIL, ROLES, Stage

PAGE = Path(__file__).parents[2] / "docs/reference/roles.md"
THERE = "127.0.0.83"


def table() -> dict[str, list[int]]:
    """The expected statuses of each operation, in the order of ROLES."""
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch("`[A-Z]+ /.*`", cells[0]):
            found[cells[0].strip("`")] = [int(cell) for cell in cells[1:]]
    return found


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with (
        scratch() as folder,
        served(THERE) as site,
        System(
            folder / "data", fetch_allow=THERE, presigned_uploads=100, classifier=models.colours(folder), **MAIL
        ) as system,
    ):
        site.pages |= {"/1.jpg": told(photo(80, 60)), "/slow.jpg": endless(b"", 1)}
        with App(system) as app:
            yield Stage(app, site)
        assert system.stop() == 0, system.output


def test_every_call_is_in_the_table() -> None:
    assert set(table()) == {f"{o.method} {o.path}" for o in OPERATIONS}
    assert set(CALLS) == {o.name for o in OPERATIONS}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_each_role_gets_as_far_as_the_table_says(operation, stage: Stage) -> None:  # type: ignore[no-untyped-def]
    found = {role: stage.asks(CALLS[operation.name](stage), role) for role in ROLES}
    assert found == dict(zip(ROLES, table()[f"{operation.method} {operation.path}"], strict=True))
