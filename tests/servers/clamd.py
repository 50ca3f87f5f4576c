"""A real clamd with one signature of our own: EICAR's test file, which every scanner knows and nothing else holds."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

PATH = os.environ.get("PATH", "") + ":/usr/sbin"
EICAR = (
    r"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*"
).encode()  # no scanner's business
NAME = "Chipmunk.Test.Eicar"
STREAM_BYTES = 1024 * 1024
SETTINGS = """
LocalSocket {folder}/clamd.sock
DatabaseDirectory {folder}/signatures
Foreground yes
StreamMaxLength {stream}
OfficialDatabaseOnly no
"""


def missing() -> bool:
    return shutil.which("clamd", path=PATH) is None


class Clamd:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        signatures = folder / "signatures"
        signatures.mkdir()
        (signatures / "ours.ndb").write_text(f"{NAME}:0:*:{EICAR.hex()}\n")
        (folder / "clamd.conf").write_text(SETTINGS.format(folder=folder, stream=STREAM_BYTES))

    @property
    def address(self) -> str:
        return f"unix:{self._folder}/clamd.sock"

    def __enter__(self) -> Self:
        program = shutil.which("clamd", path=PATH)
        assert program is not None
        config = self._folder / "clamd.conf"
        self._process = subprocess.Popen([program, f"--config-file={config}"], stdout=subprocess.DEVNULL)
        for _ in range(200):
            try:
                self._ping()
                return self
            except OSError:
                assert self._process.poll() is None, "clamd ended"
                time.sleep(0.05)
        raise AssertionError("clamd does not answer")

    def _ping(self) -> None:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(5)
            asking.connect(self.address.removeprefix("unix:"))
            asking.sendall(b"zPING\0")
            assert asking.recv(16) == b"PONG\0"

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
