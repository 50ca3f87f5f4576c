from __future__ import annotations

import subprocess
import sys

import pytest

from compressor.niceness import AUTOGROUP, LADDERS
from solo.packages import PROJECT

ASKED = """\
import os
from compressor.niceness import AUTOGROUP, LADDERS, step_back
step_back(LADDERS)
print(os.nice(0))
print(AUTOGROUP.read_text())
"""


def stepped_back(*, alone: bool) -> tuple[int, int | None]:
    """The niceness of a process that stepped back, and of its session; none where no session of its own was ever begun."""
    words = [sys.executable, "-c", ASKED]
    said = subprocess.run(words, cwd=PROJECT, start_new_session=alone, capture_output=True, text=True, check=True)
    own, group = said.stdout.split("\n")[:2]
    return int(own), int(group.split()[-1]) if group else None


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel does not schedule sessions as groups")
def test_a_worker_with_a_session_of_its_own_makes_it_nice_and_no_other() -> None:
    before = AUTOGROUP.read_text()
    assert stepped_back(alone=True) == (LADDERS, LADDERS)
    assert stepped_back(alone=False)[0] == LADDERS
    assert AUTOGROUP.read_text() == before
