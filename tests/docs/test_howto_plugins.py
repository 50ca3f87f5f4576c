"""The page on plug-ins: its example is installed from what the page says, and does what it says; and the reference's tables."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tomllib
from pathlib import Path

import pytest

from chipmunk import config, hooks
from chipmunk.hooks import Arrival, Ingested, Looked, RefusedByPlugin, Seen, Sharing
from compressor.plugged.switched import OURS, Plugged
from solo.packages import PROJECT
from tests.compressor.plugs import install
from tests.docs.howto import blocks, files
from tests.docs.pages import codes, rows, text

PAGE = "plugins.md"
ABOUT = {"kind": "image", "mime": "image/png", "sha256": hashlib.sha256(b"test").hexdigest(), "filename": "a.png"}


def settings(block: str) -> config.Settings:
    return config.load(dict(line.split("=", 1) for line in block.splitlines()))


async def test_the_example_of_the_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = files(PAGE)
    [(name, entry)] = tomllib.loads(written["pyproject.toml"])["project"]["entry-points"][hooks.GROUP].items()
    module, _, cls = entry.partition(":")
    assert name == module
    install(monkeypatch, tmp_path / "packages", module, cls, written[f"{module}.py"])
    body = tmp_path / "body"
    body.write_bytes(b"test")
    given = settings(blocks(PAGE, "ini")[-1]).model_copy(update={"plugins": (name,)})
    async with Plugged(given) as plugged:
        with pytest.raises(RefusedByPlugin, match="not wanted"):
            await plugged.before_ingest(Arrival(**ABOUT, length=4, flows=()), body)  # type: ignore[arg-type]
        other = Arrival(**{**ABOUT, "sha256": "0" * 64}, length=4, flows=())  # type: ignore[arg-type]
        await plugged.before_ingest(other, body)
        for length, tags in ((4, ()), (6_000_000, ("large",))):
            media = Ingested(**ABOUT, media="0" * 32, length=length, flows=())  # type: ignore[arg-type]
            assert await plugged.after_ingest(name, media, body) == tags
        for address, goes in (("ann@example.com", True), ("ann@elsewhere.org", False)):
            about = ("0" * 32, "image", "image/png", ())
            audience = "user:bob" if goes else "anyone"
            for shared in (Sharing(*about, "anyone", address, "Look", "There"), Sharing(*about, audience)):
                if goes:
                    await plugged.before_share(shared)
                else:
                    with pytest.raises(RefusedByPlugin, match="inside it only"):
                        await plugged.before_share(shared)


async def test_the_classifier_of_the_page_sees_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path / "packages", "brightness", "Brightness", files(PAGE)["brightness.py"])
    given = next(settings(block) for block in blocks(PAGE, "ini") if "brightness" in block)
    pixels = tmp_path / "pixels"
    pixels.write_bytes(bytes([255] * 9 + [0] * 3))
    async with Plugged(given) as plugged:
        looked = Looked("0" * 32, "image", "image/png", 2, 2, 1, ("wall",))
        assert await plugged.classify(looked, pixels) == [Seen((("bright", 0.75), ("dark", 0.25)))]


def test_the_settings_of_the_page_are_taken() -> None:
    for block in blocks(PAGE, "ini")[:-1]:
        [name] = settings(block).plugins
        assert list(json.loads(settings(block).plugin_options)) == [name]


def test_the_plug_ins_that_come_along_are_entry_points_and_have_their_place_on_the_page() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][hooks.GROUP] == OURS
    page = (PROJECT / "docs" / "how-to" / PAGE).read_text()
    assert all(f"CHIPMUNK_PLUGINS={name}" in page for name in OURS)


def test_each_hook_is_documented_with_what_it_is_handed_and_may_answer() -> None:
    found = {c[0].strip("`"): (codes(c[2]), codes(c[3])) for c in rows("plugins", "`.*", cells=5)}
    assert found == {n: ({h.handed.__name__}, {a.__name__ for a in h.answers}) for n, h in hooks.HOOKS.items()}
    classes = {c for h in hooks.HOOKS.values() for c in (h.handed, *h.answers)}
    told = {(c[0].strip("`"), field) for c in rows("plugins", "`[A-Z].*", cells=3) for field in codes(c[1])}
    assert told == {(c.__name__, field.name) for c in classes for field in dataclasses.fields(c)}
    limits = (f"after {hooks.LONGEST_REASON} characters", f"at most {hooks.MOST_TAGS}, of at most {hooks.LONGEST_TAG}",
        f"at most {hooks.MOST_CLASSES} pairs of a name, of at most {hooks.LONGEST_CLASS}")  # fmt: skip
    assert all(limit in text("plugins") for limit in limits)
    attributes = {c[0].strip("`") for c in rows("plugins", "`[a-z]+`", cells=2)}
    assert attributes == {*hooks.Plugin.__annotations__, "options"}
    assert re.findall(r"^\| hook ", text("plugins"), re.MULTILINE)
