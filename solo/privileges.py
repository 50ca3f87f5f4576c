"""Root gives itself up: whom it becomes, and a view of the disk in which that account can move."""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from solo.refusal import Refusal

CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 1 << 12, 1 << 14, 1 << 18


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int


def account(name: str) -> Account | None:
    """The account that servers are handed to; None where this process is not root and keeps its own."""
    if os.geteuid() != 0:
        return None
    found = _lookup(name) or _create(name) or _lookup("nobody")
    if found is None:
        raise Refusal(f"There is no user {name}, and none could be made: create it, or name another in CHIPMUNK_USER.")
    if found.uid == 0:
        raise Refusal("CHIPMUNK_USER must not be root: servers that do not need root do not get it.")
    return found


def _lookup(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, entry.pw_uid, entry.pw_gid)


def _create(name: str) -> Account | None:
    useradd = shutil.which("useradd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if useradd is None:
        return None
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    subprocess.run([useradd, *options, "--shell", "/usr/sbin/nologin", name], check=False, capture_output=True)
    return _lookup(name)


def become(account: Account, home: Path) -> None:
    """Turns this process, and all that it will start, into that account for good."""
    os.setgroups([])
    os.setgid(account.gid)
    os.setuid(account.uid)
    os.environ |= {"HOME": str(home), "USER": account.name, "LOGNAME": account.name}


def open_the_way(account: Account, paths: Iterable[Path]) -> None:
    """Let the account reach these directories, all readable in themselves, whatever stands above them.

    Where a directory above is closed to it, such as a 0700 /root, this process moves into a mount namespace of
    its own, in which an empty directory covers the closed one and holds nothing but the given paths. Every path
    stays what it was, and nobody outside sees any of it.
    """
    wanted = _topmost(paths)
    if (closed := _first_closed(account, wanted)) is None:
        return
    try:
        _own_mounts()
        handles = {path: os.open(path, os.O_PATH | os.O_DIRECTORY) for path in wanted}
        while closed is not None:
            if closed in wanted:
                raise Refusal(f"{account.name} may not read {closed}: chmod -R go+rX {closed}")
            _cover(closed, {path: handle for path, handle in handles.items() if closed in path.parents})
            closed = _first_closed(account, wanted)
    except OSError:
        raise Refusal(
            f"{account.name}, whom the servers run as, cannot enter {closed}, and mounts are not permitted here: "
            "put the clone and its data where all users may go, such as /opt, or start as an ordinary user."
        ) from None
    for handle in handles.values():
        os.close(handle)
    os.chdir(Path.cwd())


def _topmost(paths: Iterable[Path]) -> list[Path]:
    """Each path as named and as it really is, in order of depth."""
    return sorted({way for path in paths for way in (path.absolute(), path.resolve())}, key=lambda p: len(p.parts))


def _first_closed(account: Account, paths: list[Path]) -> Path | None:
    """The first directory on the way to a path that the account may not enter, as the kernel sees it."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
            os.write(writing, os.fsencode(_closed_to_me(paths) or ""))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answer:
        closed = os.fsdecode(answer.read())
    os.waitpid(child, 0)
    return Path(closed) if closed else None


def _closed_to_me(paths: list[Path]) -> Path | None:
    for path in paths:
        for step in reversed(path.parents):
            if not os.access(step, os.X_OK):
                return step
        if not os.access(path, os.R_OK | os.X_OK):
            return path
    return None


def _own_mounts() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _mount("none", Path("/"), "", MS_REC | MS_PRIVATE)


def _cover(closed: Path, within: dict[Path, int]) -> None:
    _mount("tmpfs", closed, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
    for path, handle in within.items():
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
        _mount(f"/proc/self/fd/{handle}", path, "", MS_BIND | MS_REC)


def _mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode()
    if libc.mount(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"mount on {target}")
