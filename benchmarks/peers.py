"""What people use instead, installed below `.bench` once and started beside us."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.house import serving
from solo.packages import PROJECT, plain_environment
from tests.harness import free_port

INSTALLED = PROJECT / ".bench"
Say = Callable[[str], None]
SESSION = "0123456789abcdef0123456789abcdef"

STARLETTE = """\
from starlette.applications import Starlette
from starlette.responses import FileResponse, Response
from starlette.routing import Route

SESSIONS = {{"{session}": "ann"}}


async def picture(request):
    if request.cookies.get("session") not in SESSIONS:
        return Response(status_code=401)
    return FileResponse("{file}", media_type="image/webp")


app = Starlette(routes=[Route("/picture", picture)])
"""

THUMBOR = """\
LOADER = "thumbor.loaders.file_loader"
FILE_LOADER_ROOT_PATH = "{folder}"
RESULT_STORAGE = "thumbor.result_storages.file_storage"
RESULT_STORAGE_FILE_STORAGE_ROOT_PATH = "{folder}/results"
RESULT_STORAGE_STORES_UNSAFE = True
STORAGE = "thumbor.storages.no_storage"
ALLOW_UNSAFE_URL = True
"""


def python_peer(name: str, packages: list[str], say: Say) -> Path:
    """The `bin` folder of an environment of its own that has the packages."""
    folder = INSTALLED / name
    if not (folder / "made").exists():
        say(f"installing {name}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
        subprocess.run(pip, check=True)
        (folder / "made").touch()
    return folder / "bin"


def node_peer(name: str, packages: list[str], say: Say) -> Path:
    """The folder whose `node_modules` holds the packages."""
    folder = INSTALLED / name
    if not (folder / "made").exists():
        say(f"installing {name}")
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(folder), *packages]
        subprocess.run(command, check=True, env=plain_environment())
        (folder / "made").touch()
    return folder


@contextmanager
def starlette_app(folder: Path, file: Path) -> Iterator[tuple[int, str, str]]:
    """The app itself serves the file behind a look at the session. Gives port, path and headers of a view."""
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(STARLETTE.format(session=SESSION, file=file))
    port, headers = free_port(), f"Cookie: session={SESSION}"
    options = [
        "--port",
        str(port),
        "--no-access-log",
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--log-level",
        "error",
    ]
    command = [sys.executable, "-m", "uvicorn", "app:app", "--app-dir", str(folder), *options]
    with serving(command, port, "/picture", refused=True):
        yield port, "/picture", headers


@contextmanager
def thumbor(folder: Path, original: bytes, say: Say) -> Iterator[tuple[int, str, str]]:
    """One process; the picture comes from its warm result storage."""
    binary = python_peer("thumbor", ["thumbor", "setuptools<81"], say) / "thumbor"
    folder.mkdir(exist_ok=True)
    (folder / "photo.jpg").write_bytes(original)
    (folder / "thumbor.conf").write_text(THUMBOR.format(folder=folder))
    port, path = free_port(), "/unsafe/fit-in/320x320/filters:format(webp)/photo.jpg"
    command = [
        str(binary),
        "--ip",
        "127.0.0.1",
        "--port",
        str(port),
        "--conf",
        str(folder / "thumbor.conf"),
        "-l",
        "error",
    ]
    with serving(command, port, path):
        yield port, path, "Accept: */*"


@contextmanager
def ipx(folder: Path, original: bytes, say: Say) -> Iterator[tuple[int, str, str]]:
    """One process, warm; it has no store of results."""
    installed = node_peer("ipx", ["ipx"], say)
    folder.mkdir(exist_ok=True)
    (folder / "photo.jpg").write_bytes(original)
    port, path = free_port(), "/f_webp,s_320x320,fit_inside/photo.jpg"
    options = ["serve", "--dir", str(folder), "--port", str(port), "--host", "127.0.0.1"]
    command = [str(installed / "node_modules" / ".bin" / "ipx"), *options]
    with serving(command, port, path):
        yield port, path, "Accept: */*"
