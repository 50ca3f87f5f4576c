from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from chipmunk.ids import new_id
from chipmunk.variants import Addresses, Variant

OLD, NEW = "o" * 40, "n" * 40
MEDIA, OTHER = new_id(), new_id()
VARIANT = Variant(17, "crop.1.2.3.4~rotate.90", "auto")


def test_it_opens_what_it_signed_for_that_media_alone() -> None:
    signed = Addresses([NEW]).sign(MEDIA, VARIANT)
    assert Addresses([NEW]).open(MEDIA, signed) == VARIANT
    assert Addresses([NEW]).open(OTHER, signed) is None


def test_an_old_key_still_verifies_and_the_newest_signs() -> None:
    rotated = Addresses([NEW, OLD])
    assert rotated.open(MEDIA, Addresses([OLD]).sign(MEDIA, VARIANT)) == VARIANT
    assert rotated.sign(MEDIA, VARIANT) == Addresses([NEW]).sign(MEDIA, VARIANT)
    assert Addresses([NEW]).open(MEDIA, Addresses([OLD]).sign(MEDIA, VARIANT)) is None


@given(st.data())
def test_no_letter_of_it_can_be_another(data: st.DataObject) -> None:
    addresses = Addresses([NEW])
    signed = addresses.sign(MEDIA, VARIANT)
    at = data.draw(st.integers(0, len(signed) - 1))
    letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + "._~-"))
    changed = signed[:at] + letter + signed[at + 1 :]
    assert (addresses.open(MEDIA, changed) is not None) == (changed == signed)
    assert addresses.open(MEDIA, signed[:at] + letter + signed[at:]) is None
