from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from chipmunk import config
from chipmunk.errors import Problem
from compressor import handover, tasks
from compressor.ladder import Rung, still_cap
from compressor.limits import Limits
from compressor.sniff import sniff
from tests import pictures

TOP = Rung(6, 1080, 810)


@pytest.fixture(autouse=True)
def _prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "LIMITS", Limits.of(config.load({})), raising=False)


def large(kind: str, mode: str = "RGB", side: int = 1600, **options: object) -> bytes:
    image = pictures.noise(40, 30).resize((side, side * 3 // 4), Image.Resampling.BICUBIC).convert(mode)
    return pictures.saved(image, kind, **options)


def ladder(data: bytes, folder: Path, *, forget: bool) -> dict[str, bytes]:
    """The rungs' files of a ladder between whose halves what was handed over may be lost."""
    out = folder / "out"
    out.mkdir(parents=True)
    path = folder / "0"
    path.write_bytes(data)
    kind = sniff(data[:4096])
    assert kind is not None
    tasks.begin(path, kind, folder, False, still_cap(len(data)))
    if forget:
        handover.drop(folder)
    tasks.finish(path, kind, out, None, still_cap(len(data)))
    return {p.name: p.read_bytes() for where in (folder, out) for p in where.iterdir() if p.is_file() and p != path}


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "L"), ("WEBP", "RGB"), ("WEBP", "RGBA")]
)
def test_a_ladder_ends_the_same_whether_or_not_its_top_was_kept(tmp_path: Path, kind: str, mode: str) -> None:
    data = large(kind, mode)
    kept = ladder(data, tmp_path / "kept", forget=False)
    assert sorted(kept) == [f"{q}.webp" for q in range(1, 7)]
    assert kept == ladder(data, tmp_path / "lost", forget=True)


def test_the_top_is_kept_until_the_ladder_is_done(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(large("PNG"))
    kind = sniff((tmp_path / "0").read_bytes()[:4096])
    assert kind is not None
    tasks.begin(tmp_path / "0", kind, tmp_path, False, 100_000)
    assert (found := handover.kept(tmp_path, Rung(6, 1080, 810))) is not None
    assert found.size == (1080, 810)
    tasks.finish(tmp_path / "0", kind, tmp_path, None, 100_000)
    assert handover.kept(tmp_path, TOP) is None


@pytest.mark.parametrize("side", [(1000, 750), (1080, 809)])
def test_what_is_of_another_size_is_not_taken(tmp_path: Path, side: tuple[int, int]) -> None:
    handover.keep(Image.new("RGB", side), tmp_path)
    assert handover.kept(tmp_path, TOP) is None


def test_what_is_cut_is_not_taken(tmp_path: Path) -> None:
    handover.keep(Image.new("RGB", (1080, 810)), tmp_path)
    assert handover.kept(tmp_path, TOP) is not None
    kept = tmp_path / handover.NAME
    kept.write_bytes(kept.read_bytes()[:100_000])
    assert handover.kept(tmp_path, TOP) is None


def test_a_full_disk_only_costs_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    handover.keep(Image.new("RGB", (1080, 810)), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", [0.3, 0.9])
def test_a_cut_file_leaves_nothing_to_hand_over(tmp_path: Path, at: float) -> None:
    data = large("PNG")
    (tmp_path / "0").write_bytes(data[: int(len(data) * at)])
    kind = sniff(data[:4096])
    assert kind is not None
    with pytest.raises(Problem):
        tasks.begin(tmp_path / "0", kind, tmp_path, False, 100_000)
    assert [p.name for p in tmp_path.iterdir()] == ["0"]


def test_only_what_costs_more_to_decode_is_kept() -> None:
    photo = pictures.saved(pictures.noise(60, 45), "JPEG")
    progressive = pictures.saved(pictures.noise(60, 45), "JPEG", progressive=True)
    kinds = {name: Image.open(io.BytesIO(data)) for name, data in (("p", photo), ("q", progressive))}
    assert not handover.pays(kinds["p"], 900_000)
    assert handover.pays(kinds["p"], 3_000_000)
    assert handover.pays(kinds["q"], 900_000)
    assert handover.pays(Image.new("RGB", (2000, 1500)), 10)
    assert not handover.pays(Image.new("RGB", (800, 600)), 10**7)
