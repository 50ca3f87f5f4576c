"""Content identifiers, held to what js-ipfs and Kubo made of the same files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipmunk.storage.cid import CHUNK, LINKS, is_cid, measured

EMPTY = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
ZEROS = {
    0: EMPTY,
    CHUNK: "bafkreiekhhjkxu4ztk3tyng3er3ijhg56mb44oe3gwbgquhzu4afrg2ksa",
    CHUNK + 1: "bafybeigllfqgfpqydppr6cmv56g7ax4wyhruzswvcefv6j5kj77nzttfki",
    CHUNK * LINKS: "bafybeibxsa3ioclowpaq7b6gxl65gzqneopfr3fnhedak6sqr4bjz5lnyq",
    CHUNK * LINKS + 1: "bafybeihqwzd3o6q6v3pmwhzjy22vokhr767burokmqemg63hptx2nqd7ym",
    100_000_000: "bafybeib35z4lxciae7pp5faehlsh23d2tl5cl2fzdyq6zkhtqbtk3gndsm",
}


@pytest.mark.parametrize("size", ZEROS)
def test_a_files_cid_is_what_others_make_of_it(size: int, tmp_path: Path) -> None:
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(size)
    assert measured(tmp_path / "zeros") == (ZEROS[size], size)
    assert is_cid(ZEROS[size])


@given(
    at=st.sampled_from([*range(7), *range(8, 58)]),
    letter=st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789ABCXYZ=/. é"),
)
def test_a_changed_letter_makes_another_cid_or_none(at: int, letter: str) -> None:
    changed = EMPTY[:at] + letter + EMPTY[at + 1 :]
    assert is_cid(changed) == (changed == EMPTY or (at >= 8 and letter in "abcdefghijklmnopqrstuvwxyz234567"))


@pytest.mark.parametrize(
    "key", ["", "b", EMPTY[:-1], EMPTY + "a", EMPTY.upper(), "QmQxogFMvrm6Ze9cdkiE1goYvQTtutqmMFmmDirA9ULe5o", EMPTY[:-1] + "v"]
)  # fmt: skip
def test_what_is_no_cid_of_ours_is_told(key: str) -> None:
    assert not is_cid(key)
