from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from solo import privileges
from solo.privileges import account
from solo.refusal import Refusal
from tests.harness import scratch

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")

REACH = """
import os, sys
from pathlib import Path
from solo.privileges import account, become, open_the_way
closed, *paths = map(Path, sys.argv[1:])
who = account("nobody")
os.chdir(paths[0])
before = set(os.listdir(closed))
open_the_way(who, paths)
become(who, paths[0])
print(os.getuid(), os.geteuid(), os.getgroups(), sorted(os.listdir(closed)))
for path in paths:
    print((path / "file").read_text(), Path.cwd() == paths[0], (path / "file").stat().st_dev)
"""


def test_an_account_that_is_missing_is_made_without_a_login() -> None:
    name = "chipmunk-test"
    try:
        made = account(name)
        assert made is not None
        assert made.uid != 0
        assert pwd.getpwnam(name).pw_shell.endswith("nologin")
    finally:
        subprocess.run(["userdel", name], check=False, capture_output=True)


def test_where_no_account_can_be_made_nobody_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    found = account("chipmunk-test")
    assert found is not None
    assert found.name == "nobody"


def test_root_is_no_account_to_become() -> None:
    with pytest.raises(Refusal, match="must not be root"):
        account("root")


def test_the_way_is_opened_below_a_closed_directory_and_shows_nothing_else() -> None:
    with scratch() as top:
        closed = top / "home"
        paths = [closed / "clone", closed / "deep" / "er" / "data"]
        for path in paths:
            path.mkdir(parents=True)
            (path / "file").write_text(path.name)
        (closed / "deep").chmod(0o700)
        (closed / "secret").touch()
        closed.chmod(0o700)
        ran = subprocess.run([sys.executable, "-c", REACH, closed, *paths], capture_output=True, text=True, check=False)
        assert ran.stderr == ""
        first, *rest = ran.stdout.splitlines()
        assert first == "65534 65534 [] ['clone', 'deep']"
        assert [line.rsplit(" ", 1)[0] for line in rest] == ["clone True", "data True"]
        assert (closed / "secret").exists()
        assert closed.stat().st_mode & 0o777 == 0o700


def test_a_path_that_is_itself_closed_is_refused_with_what_to_do() -> None:
    with scratch() as top:
        clone = top / "clone"
        clone.mkdir(mode=0o700)
        (clone / "file").touch()
        ran = subprocess.run([sys.executable, "-c", REACH, top, clone], capture_output=True, text=True, check=False)
        assert f"Refusal: nobody may not read {clone}: chmod -R go+rX {clone}" in ran.stderr


def test_nothing_is_mounted_where_all_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def never() -> None:
        raise AssertionError("mounted")

    monkeypatch.setattr(privileges, "_own_mounts", never)
    nobody = account("nobody")
    assert nobody is not None
    with scratch() as top:
        privileges.open_the_way(nobody, [top, Path("/usr")])


def test_where_mounts_are_not_permitted_the_person_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise PermissionError

    monkeypatch.setattr(privileges, "_own_mounts", refused)
    nobody = account("nobody")
    assert nobody is not None
    with scratch() as top:
        (top / "home" / "clone").mkdir(parents=True)
        (top / "home").chmod(0o700)
        with pytest.raises(Refusal, match=r"cannot enter .*/home, and mounts are not permitted"):
            privileges.open_the_way(nobody, [top / "home" / "clone"])
