"""Who waits where the processors do not suffice for all: views before uploads, uploads before the ladders of earlier ones."""

from __future__ import annotations

import os
import time
from pathlib import Path

UPLOADS, LADDERS = 5, 10  # a third, and a tenth, of what those get that answer views (sched(7): 1.25 times less each)
AUTOGROUP = Path("/proc/self/autogroup")


def step_back(niceness: int) -> None:
    """Leaves the processors to those who answer people sooner.

    Where Linux schedules sessions as groups (sched(7), autogroup), niceness counts among a session's own processes
    alone, and the group has a niceness of its own. The kernel takes one change of such in a tenth of a second.
    """
    os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), niceness))
    if os.getsid(0) != os.getpid():
        return
    for _ in range(10):
        try:
            AUTOGROUP.write_text(f"{niceness}\n")
        except BlockingIOError:
            time.sleep(0.15)
        except OSError:
            return
        else:
            return
