from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipmunk.vault import HEADER, CannotOpen, UnknownMasterKey, Vault, fingerprint_of

NEW, OLD = "n" * 43, "o" * 43


@given(st.binary(max_size=200), st.sampled_from(("media", "backend")))
def test_what_is_sealed_opens_again(data: bytes, purpose: str) -> None:
    vault = Vault([NEW])
    sealed = vault.seal(data, purpose)
    assert vault.open(sealed, purpose) == data
    assert fingerprint_of(sealed) == vault.fingerprint


def test_the_newest_key_seals_and_all_open() -> None:
    before = Vault([OLD]).seal(b"secret", "media")
    both = Vault([NEW, OLD])
    assert both.open(before, "media") == b"secret"
    assert both.fingerprint == Vault([NEW]).fingerprint == fingerprint_of(both.seal(b"", "media"))
    assert both.fingerprints == (Vault([NEW]).fingerprint, Vault([OLD]).fingerprint)


def test_a_key_that_is_gone_is_named_by_its_fingerprint_and_never_shown() -> None:
    sealed = Vault([OLD]).seal(b"secret", "media")
    with pytest.raises(UnknownMasterKey, match=Vault([OLD]).fingerprint) as caught:
        Vault([NEW]).open(sealed, "media")
    assert OLD not in str(caught.value)
    assert NEW not in str(caught.value)


def test_what_was_sealed_for_one_purpose_does_not_open_for_another() -> None:
    vault = Vault([NEW])
    with pytest.raises(CannotOpen, match="backend"):
        vault.open(vault.seal(b"secret", "media"), "backend")


@given(st.integers(0, HEADER + 6 + 16 - 1), st.integers(1, 255))
def test_a_changed_byte_anywhere_is_noticed(at: int, change: int) -> None:
    vault = Vault([NEW])
    sealed = bytearray(vault.seal(b"secret", "media"))
    sealed[at] ^= change
    with pytest.raises(CannotOpen):
        vault.open(bytes(sealed), "media")


@pytest.mark.parametrize("length", [0, 1, HEADER, HEADER + 15, HEADER + 20])
def test_a_piece_of_it_is_no_sealed_secret(length: int) -> None:
    vault = Vault([NEW])
    with pytest.raises(CannotOpen):
        vault.open(vault.seal(b"secret", "media")[:length], "media")


def test_no_two_sealings_are_alike_and_none_shows_what_is_in_it() -> None:
    vault = Vault([NEW])
    many = {vault.seal(b"secret secret secret", "media") for _ in range(100)}
    assert len(many) == 100
    assert not any(b"secret" in sealed or NEW.encode() in sealed for sealed in many)
    assert len(vault.fingerprint) == 16


def test_a_vault_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="master key"):
        Vault([])


def test_nothing_is_loaded_before_the_first_secret() -> None:
    script = (
        "import sys; from chipmunk.vault import Vault; vault = Vault(['k' * 43]); name = 'cryptography.hazmat.bindings';"
        "assert name not in sys.modules; vault.seal(b'', ''); assert name in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
