"""Where the state lies: one data directory, held by one run at a time, owned by whom servers run as."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import IO

from chipmunk.config import Settings
from solo.privileges import Account
from solo.refusal import Refusal

FOLDERS = ("store", "cache", "keys", "valkey", "nginx", "log", "run")
BACKLOG = 2048  # as nginx.conf says
MEMORY = Path("/dev/shm")  # noqa: S108 - what lies there under our name is believed only where it is ours
MIB = 1024 * 1024
FIRST_START_BYTES, LATER_BYTES = 300 * MIB, 50 * MIB


def hold(data_dir: Path) -> IO[bytes]:
    """Makes the directory where there is none, and locks it until the file that is returned is closed."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
        strangers = [e.name for e in data_dir.iterdir() if not e.name.startswith(".") and e.name != "lost+found"]
        if strangers and not (data_dir / "lock").exists():
            raise Refusal(f"{data_dir} holds something else: set CHIPMUNK_DATA_DIR to a directory of Chipmunk's own.")
        lock = os.fdopen(os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b")
    except OSError as e:
        raise Refusal(f"The data directory {data_dir} cannot be written: {e.strerror}.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise Refusal(
            f"Chipmunk already runs on {data_dir}: end it, or set CHIPMUNK_DATA_DIR and CHIPMUNK_PORT."
        ) from None
    return lock


def furnish(data_dir: Path) -> None:
    """The folders below it, private; a Refusal where the disk is too full to begin."""
    needed = LATER_BYTES if (data_dir / "keys").exists() else FIRST_START_BYTES
    if (free := shutil.disk_usage(data_dir).free) < needed:
        raise Refusal(f"{data_dir} has {free // MIB} MiB left on its disk and needs {needed // MIB}: make room there.")
    try:
        for name in FOLDERS:
            (data_dir / name).mkdir(exist_ok=True, mode=0o700)
    except OSError as e:
        raise Refusal(f"The data directory {data_dir} cannot be written: {e.strerror}.") from None


def give(data_dir: Path, account: Account) -> None:
    """Makes all of ours below it the account's: the top last, so that an interrupted change is made again."""
    if data_dir.stat().st_uid == account.uid:
        return
    for top in (data_dir / name for name in (*FOLDERS, "postgres")):
        for folder, folders, files in os.walk(top, topdown=False) if not top.is_symlink() else ():
            for path in (Path(folder, name) for name in (*files, *folders)):
                os.chown(path, account.uid, account.gid, follow_symlinks=False)
    for path in (*(data_dir / name for name in (*FOLDERS, "postgres", "lock")), data_dir):
        if path.exists():
            os.chown(path, account.uid, account.gid, follow_symlinks=False)


def clear(settings: Settings) -> None:
    """Removes what only a running system may have: sockets, pids, temporary files, the metrics of its processes."""
    run_dir = settings.run_dir
    run_dir.mkdir(exist_ok=True, mode=0o700)
    if run_dir.is_symlink() or run_dir.stat().st_uid != os.geteuid() or run_dir.stat().st_mode & 0o077:
        raise Refusal(f"{run_dir} is not ours alone: remove it.")
    for path in run_dir.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    (run_dir / "tmp").mkdir(mode=0o700)
    forget_decisions(settings)
    with suppress(OSError):
        _in_memory(settings).mkdir(mode=0o700)
        (run_dir / "decisions").symlink_to(_in_memory(settings))
    (settings.data_dir / "postgres" / "postmaster.pid").unlink(missing_ok=True)


def forget_decisions(settings: Settings) -> None:
    """Removes what nginx remembers. It holds credentials, and so it lies in memory wherever the system has a folder for that."""
    with suppress(OSError):
        if _in_memory(settings).lstat().st_uid == os.geteuid():
            shutil.rmtree(_in_memory(settings))


def _in_memory(settings: Settings) -> Path:
    return MEMORY / settings.short_name


def listen(host: str, port: int) -> list[socket.socket]:
    """Takes the port for nginx, which then needs no root for it, and while it restarts connections wait.

    nginx takes handed sockets as they are: a blocking one would hold a worker, and all whom it serves, in accept()
    whenever another worker was quicker.
    """
    sockets = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            taken = socket.socket(family, kind, protocol)
            sockets.append(taken)
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            taken.bind(address)
            taken.setblocking(False)
            taken.listen(BACKLOG)
    except OSError as e:
        for taken in sockets:
            taken.close()
        raise Refusal(_why_not(host, port, e)) from None
    return sockets


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use: end what listens there, or set CHIPMUNK_PORT to a free one."
    if error.errno == errno.EACCES:
        return f"Port {port} is for root only: set CHIPMUNK_PORT to 1024 or more, or start as root."
    return f"Cannot listen on {host}: {error.strerror}; set CHIPMUNK_HOST to an address of this machine."
