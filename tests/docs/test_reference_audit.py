"""The page of the audit log is held to the code: each action, by which calls, and each call that leaves nothing."""

from __future__ import annotations

from chipmunk.audit import ACTIONS
from chipmunk.operations.table import OPERATIONS
from chipmunk.operations.trail import ACTIONS_OF, UNNOTED
from tests.docs.pages import codes, rows

CALLS = {operation.name: f"{operation.method} {operation.path}" for operation in OPERATIONS}


def test_each_action_is_there_with_its_calls_and_what_it_says() -> None:
    found = {cells[0].strip("`"): cells[1:] for cells in rows("audit", r"`\w+\.\w+`", cells=3)}
    assert set(found) == set(ACTIONS)
    for action, (calls, changes) in found.items():
        assert codes(calls) == {CALLS[name] for name, left in ACTIONS_OF.items() if action in left}, action
        assert changes == ACTIONS[action], action


def test_each_call_that_leaves_nothing_is_there_with_its_reason() -> None:
    found = {cells[0].strip("`"): cells[1] for cells in rows("audit", r"`[A-Z]+ /.*`", cells=2)}
    assert found == {CALLS[name]: why for name, why in UNNOTED.items()}
