from __future__ import annotations

import pytest

from chipmunk import colours


@pytest.mark.parametrize(
    ("colour", "lab"),  # as CSS Color 4 and colorjs.io have them
    [
        (0xFFFFFF, (1.0, 0.0, 0.0)),
        (0x000000, (0.0, 0.0, 0.0)),
        (0xFF0000, (0.62796, 0.22486, 0.12585)),
        (0x00FF00, (0.86644, -0.23389, 0.17950)),
        (0x0000FF, (0.45201, -0.03246, -0.31153)),
    ],
)
def test_colours_stand_in_oklab_where_others_have_them(colour: int, lab: tuple[float, float, float]) -> None:
    assert colours.oklab(colour) == pytest.approx(lab, abs=2e-4)


def test_a_colour_is_read_as_it_is_shown() -> None:
    assert colours.shown(0x0A0B0C) == "#0a0b0c"
    assert colours.read("#0a0b0c") == colours.read("0A0B0C") == 0x0A0B0C
    assert [colours.read(text) for text in ("", "#fff", "#0a0b0g", "##0a0b0c", "#0a0b0c\n", "٠٠٠٠٠٠")] == [None] * 6
