import asyncio
from pathlib import Path

import pytest

from chipmunk.storage import Store
from chipmunk.storage.linter import lint
from chipmunk.storage.local import LocalStore
from chipmunk.storage.memory import MemoryStore


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_the_store_keeps_the_contract(kind: str, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    store: Store = LocalStore(tmp_path / "store") if kind == "local" else MemoryStore()
    assert asyncio.run(lint(store, tmp_path / "scratch")) == []


def test_the_linter_finds_a_store_that_loses_ranges(tmp_path: Path) -> None:
    class Forgetful(MemoryStore):
        async def delete(self, key: str) -> None:
            return

    assert "a deleted object is still there" in asyncio.run(lint(Forgetful(), tmp_path))


def test_a_placed_folder_is_there_whole_and_never_replaces_another(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    for text in ("first", "second"):
        folder = tmp_path / "store" / ".inbox" / text
        folder.mkdir(parents=True)
        (folder / "0").write_text(text)
    asyncio.run(store.place(tmp_path / "store/.inbox/first", "ab/cd/1234"))
    with pytest.raises(FileExistsError):
        asyncio.run(store.place(tmp_path / "store/.inbox/second", "ab/cd/1234"))
    assert (store.path("ab/cd/1234") / "0").read_text() == "first"
    assert [f.name for f in store.folders()] == ["1234"]
    assert [f.name for f in store.folders("ab")] == ["1234"]
