"""The process of one plug-in: fences itself in, imports the plug-in, and answers questions one after another.

It speaks JSON over a socket that keeps messages apart, at most 64 KiB each; files come along as descriptors.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from chipmunk import hooks
from chipmunk.hooks import Plugin
from compressor.plugged import fences

MESSAGE_BYTES = 64 * 1024
MOST_FILES = 2


def main() -> None:
    """Answers until the service hangs up."""
    with socket.socket(fileno=int(sys.argv[1])) as service:
        told = json.loads(service.recv(MESSAGE_BYTES))
        try:
            plugin, hello = _started(told)
        except Exception as e:
            return _say(service, {"error": _in_short(e)})
        _say(service, hello)
        while _answer_one(service, plugin):
            gc.collect(0)


def _started(told: dict[str, Any]) -> tuple[Plugin, dict[str, Any]]:
    module, _, name = told["entry"].partition(":")
    given = [Path(str(value)) for name, value in told["options"].items() if name.endswith("_file")]
    stand = fences.enclose(told["memory_bytes"], told["cpu_seconds"], [*fences.code_of(module), *given])
    cls: type[Plugin] = getattr(importlib.import_module(module), name)
    hello = {"hooks": hooks.taken(cls), "kinds": sorted(cls.kinds), "connects": cls.connects, "fences": stand}
    return cls(told["options"]), hello


def _answer_one(service: socket.socket, plugin: Plugin) -> bool:
    data, files, _, _ = socket.recv_fds(service, MESSAGE_BYTES, MOST_FILES)
    if not data:
        return False
    asked = json.loads(data)
    with ExitStack() as held:
        if asked["connected"]:
            plugin.connection = held.enter_context(socket.socket(fileno=files.pop()))
            plugin.connection.setblocking(True)
        handed, file = hooks.received(asked["hook"], asked["handed"], files)
        if file is not None:
            held.enter_context(file)
        said = _said(plugin, asked["hook"], handed)
    _say(service, {"id": asked["id"], **said})
    return True


def _said(plugin: Plugin, hook: str, handed: hooks.Handed) -> dict[str, Any]:
    try:
        return {"answer": hooks.told(hook, getattr(plugin, hook)(handed))}
    except MemoryError:
        os._exit(1)
    except Exception as e:
        return {"error": _in_short(e)}


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _say(service: socket.socket, message: dict[str, Any]) -> None:
    service.send(json.dumps(message).encode())
