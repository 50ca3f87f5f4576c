"""HTTP load by wrk: one thread, 32 connections, requests from a list that was written beforehand."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 32
REPEATED = """\
local requests, count, at = {}, 0, 0
function init(arguments)
  for line in io.lines(arguments[1]) do
    local path, headers = line:match("^(%S+)%s?(.*)$")
    count = count + 1
    requests[count] = "GET " .. path .. " HTTP/1.1\\r\\nHost: localhost\\r\\n" .. headers:gsub("|", "\\r\\n") .. "\\r\\n\\r\\n"
  end
  at = tonumber(arguments[2])
end
function request()
  at = at % count + 1
  return requests[at]
end
function done(summary, latency, _)
  io.write("\\nFIGURES " .. string.format('{"requests":%d,"seconds":%f,"p50":%f,"p99":%f,"refused":%d,"broken":%d,"bytes":%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    summary.bytes))
end
"""


H2LOAD = re.compile(r"finished in [\d.]+s, ([\d.]+) req/s.*status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", re.DOTALL)


def by_http2(port: int, path: str, header: str, seconds: int) -> float:
    """Requests per second over TLS, one at a time on each of as many connections. RuntimeError where one was refused."""
    command = [
        "h2load",
        "-t1",
        f"-c{CONNECTIONS}",
        "-m1",
        f"-D{seconds}",
        "-H",
        header,
        f"https://127.0.0.1:{port}{path}",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = H2LOAD.search(said)
    if found is None or not int(found[2]):
        raise RuntimeError("answers by HTTP/2 are not what is measured")
    return float(found[1])


@dataclass(frozen=True)
class Load:
    """Latencies are in milliseconds; `refused` counts answers of 400 and above, `broken` connections that failed."""

    requests: int
    seconds: float
    p50: float
    p99: float
    refused: int
    broken: int
    bytes: int

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


class Requests:
    """A list of requests in a file; each run goes on where the last one ended."""

    def __init__(self, folder: Path, name: str, lines: Iterable[tuple[str, str]]) -> None:
        """`lines` are paths and headers, these parted by `|`."""
        self._script, self._list, self._at = folder / "list.lua", folder / f"{name}.txt", 0
        self._script.write_text(REPEATED)
        with self._list.open("w") as out:
            self._count = sum(out.write(f"{path} {headers}\n") > 0 for path, headers in lines)

    def run(self, port: int, seconds: int, *, refused: bool = False, connections: int = CONNECTIONS) -> Load:
        """Loads 127.0.0.1:port. RuntimeError where an answer was not of the kind that is measured."""
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(self._script)]
        command += [f"http://127.0.0.1:{port}/", "--", str(self._list), str(self._at % self._count)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        load = Load(**json.loads(said.rpartition("FIGURES ")[2]))
        self._at += load.requests
        wrong = load.requests - load.refused if refused else load.refused
        if wrong > connections or load.broken:
            raise RuntimeError(f"{wrong} of {load.requests} answers are not what is measured, {load.broken} broken")
        return load
