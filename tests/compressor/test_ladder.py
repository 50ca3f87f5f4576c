import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressor.ladder import RUNGS, Budget, animated_cap, plan, still_cap

SIZES = st.integers(1, 60_000)


def test_the_documented_photo_has_the_documented_rungs() -> None:
    sizes = [(r.width, r.height) for r in plan(2725, 2225, False)]
    assert sizes == [(10, 8), (40, 33), (160, 131), (320, 261), (640, 523), (1080, 882)]


@given(SIZES, SIZES, st.booleans())
def test_every_rung_stands_fits_and_is_never_enlarged(width: int, height: int, square: bool) -> None:
    rungs = plan(width, height, square)
    assert [r.quality for r in rungs] == [1, 2, 3, 4, 5, 6]
    for rung, side in zip(rungs, RUNGS, strict=True):
        assert 1 <= rung.width <= min(width, side)
        assert 1 <= rung.height <= min(height, side)
        if square:
            assert rung.width == rung.height == min(width, height, side)
        else:
            assert max(rung.width, rung.height) == min(max(width, height), side)


@pytest.mark.parametrize(
    ("length", "still", "animated"), [(1, 32770, 65538), (10**6, 2**20, 2065536), (10**9, 2**20, 2**23)]
)
def test_caps_grow_with_the_length_up_to_a_bound(length: int, still: int, animated: int) -> None:
    assert (still_cap(length), animated_cap(length)) == (still, animated)


@given(st.integers(1000, 10**7), st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_shares_never_pass_the_cap_and_leftovers_go_up(cap: int, parts: list[float]) -> None:
    budget, spent = Budget(cap, range(1, 7)), 0
    for quality, part in enumerate(parts, 1):
        took = int(budget.share(quality) * part)
        budget.took(quality, took)
        spent += took
    assert spent <= cap
    frugal = Budget(cap, (5, 6))
    whole = frugal.share(6)
    frugal.took(5, 0)
    assert frugal.share(6) > whole
