from __future__ import annotations

from pathlib import Path

import pytest

from chipmunk.storage.local import LocalStore


async def test_a_placed_folder_is_there_whole_and_never_replaces_another(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    for text in ("first", "second"):
        folder = tmp_path / "store" / ".inbox" / text
        folder.mkdir(parents=True)
        (folder / "0").write_text(text)
    await store.place(tmp_path / "store/.inbox/first", "ab/cd/1234")
    with pytest.raises(FileExistsError):
        await store.place(tmp_path / "store/.inbox/second", "ab/cd/1234")
    assert (store.path("ab/cd/1234") / "0").read_text() == "first"
    assert [f.name for f in store.folders()] == ["1234"]
    assert [f.name for f in store.folders("ab")] == ["1234"]
