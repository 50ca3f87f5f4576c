"""Refuses files in which clamd finds something. The option `clamd` says where it listens: `unix:/path` or `host:port`.

Speaks INSTREAM (clamd(8)): chunks with their length before them, in four bytes, and an empty one at the end.
"""

from __future__ import annotations

import re
import struct

from chipmunk.hooks import Arrival, Plugin, Refused

CHUNK_BYTES = 256 * 1024
LONGEST_ANSWER = 4096
FOUND = re.compile(r"stream: (.+) FOUND")


class VirusScan(Plugin):
    connects = "clamd"

    def before_ingest(self, arrival: Arrival) -> Refused | None:
        answer = self._scanned(arrival)
        if answer == "stream: OK":
            return None
        if found := FOUND.fullmatch(answer):
            return Refused(f"The virus scan found {found[1]} in the file.")
        if "size limit exceeded" in answer:
            return Refused("The file is larger than the virus scan looks into.")
        raise RuntimeError(answer)

    def _scanned(self, arrival: Arrival) -> str:
        """clamd's answer. It hangs up in the middle of a file that is too large, with the answer sent before."""
        try:
            self.connection.sendall(b"zINSTREAM\0")
            while chunk := arrival.file.read(CHUNK_BYTES):
                self.connection.sendall(struct.pack("!I", len(chunk)) + chunk)
            self.connection.sendall(struct.pack("!I", 0))
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        while len(answer) < LONGEST_ANSWER and not answer.endswith(b"\0"):
            more = self.connection.recv(LONGEST_ANSWER)
            if not more:
                break
            answer += more
        return answer.rstrip(b"\0").decode("utf-8", "replace")
