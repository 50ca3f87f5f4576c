"""Files that somebody broke, thousands of them, through the fenced-off processes: each is taken or refused with a reason,
in time, and whatever becomes of a process, the next file is decoded. `CHIPMUNK_TESTS_MUTATIONS` says how many."""

from __future__ import annotations

import asyncio
import io
import os
import random
from collections import Counter
from pathlib import Path

import psutil
import pytest
from mutagen.id3 import APIC, ID3

from chipmunk import config
from chipmunk.errors import CorruptImage, DecodeFailed, TooManyPixels, Unsupported
from compressor import sniff
from compressor.decoders import Decoders
from compressor.ladder import animated_cap, still_cap
from tests import films, pictures

MUTATIONS = int(os.environ.get("CHIPMUNK_TESTS_MUTATIONS", "2000"))  # 100,000 by hand
SECONDS, MEMORY = 20, 768 * 1024 * 1024
SIZE = (96, 64)
INTERESTING = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\xff\xff", b"\1", b"\xff")
CRASHED = "The file crashed its decoder."


def with_cover() -> bytes:
    tags, out = ID3(), io.BytesIO()
    tags.add(APIC(mime="image/png", data=pictures.saved(pictures.corners(*SIZE), "PNG")))
    tags.save(out)
    return out.getvalue() + pictures.mp3(0.3)


def seeds() -> dict[str, bytes]:
    """A small file of each format and kind."""
    plain, alpha = pictures.corners(*SIZE), pictures.corners(*SIZE, mode="RGBA")
    found = {kind: pictures.saved(plain, kind) for kind in ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "HEIF", "BMP", "ICO")}
    found |= {
        f"TIFF {how}": pictures.saved(plain, "TIFF", compression=how)
        for how in ("raw", "tiff_lzw", "jpeg", "tiff_deflate")
    }
    found |= {f"moving {kind}": pictures.animation(kind, 4, SIZE) for kind in ("GIF", "PNG", "WEBP", "AVIF")}
    found |= {
        "progressive": pictures.saved(plain, "JPEG", progressive=True),
        "CMYK": pictures.saved(plain.convert("CMYK"), "JPEG"),
        "turned": pictures.turned(6),
        "palette": pictures.saved(plain.convert("P"), "PNG"),
        "lossless": pictures.saved(alpha, "WEBP", lossless=True),
        "16 bits": pictures.saved(pictures.sixteen_bit(96), "PNG"),
        "WAV": pictures.wav(0.1), "MP3": with_cover(), "FLAC": pictures.flac(),
        "Ogg": films.sound("ogg", "libopus", seconds=0.3), "M4A": films.sound("ipod", "aac", seconds=0.3),
    }  # fmt: skip
    images = [films.scene(*SIZE)] * 3
    return found | {f"video {kind}": films.video(images, kind, sound=kind == "mp4") for kind in films.FORMATS}


def mutated(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """The file after one to eight of the things that fuzzers do: bits, bytes and lengths changed, parts lost, doubled or
    another's."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        if len(changed) < 16:
            break
        at = chance.randrange(len(changed))
        match chance.randrange(7):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at] = chance.randrange(256)
            case 2:
                word = chance.choice(INTERESTING)
                changed[at : at + len(word)] = word
            case 3:
                del changed[at : at + chance.randrange(1, 64)]
            case 4:
                changed[at:at] = changed[at : at + chance.randrange(1, 256)]
            case 5:
                del changed[max(16, at) :]
            case 6:
                other = chance.choice(others)
                start = chance.randrange(len(other))
                changed[at : at + 64] = other[start : start + 64]
    return bytes(changed)


class Run:
    """Decoders at work, and what became of each file."""

    def __init__(self, decoders: Decoders, folder: Path) -> None:
        self._decoders, self._folder = decoders, folder
        self._seeds = list(seeds().items())
        self.outcomes: Counter[str] = Counter()
        self.crashed: list[str] = []

    async def one(self, number: int) -> None:
        chance = random.Random(number)
        name, data = self._seeds[number % len(self._seeds)]
        data = mutated(data, [other for _, other in self._seeds], chance)
        kind = sniff.sniff(data[: sniff.HEAD_BYTES])
        if kind is None:
            self.outcomes["unsupported"] += 1
            return
        folder = self._folder / str(number)
        folder.mkdir()
        (folder / "0").write_bytes(data)
        try:
            begun = await self._decoders.begin(folder / "0", kind, folder, bool(number % 2), still_cap(len(data)))
            if begun.has_picture:
                await self._decoders.finish(
                    folder / "0", kind, folder, 0.5 if number % 2 else None, animated_cap(len(data))
                )
            self.outcomes["taken"] += 1
        except (CorruptImage, DecodeFailed, TooManyPixels, Unsupported) as e:
            self.outcomes[e.detail if isinstance(e, DecodeFailed) else type(e).__name__] += 1
            if e.detail == CRASHED:
                self.crashed.append(f"{number} of {name}")
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


async def test_whatever_was_broken_is_taken_or_refused_in_time(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = config.load({}, decoders=2, decode_seconds=SECONDS, decode_memory_bytes=MEMORY, max_pixels=2_000_000)
    async with Decoders(settings) as decoders:
        run = Run(decoders, tmp_path)
        numbers = iter(range(MUTATIONS))

        async def worker() -> None:
            for number in numbers:
                async with asyncio.timeout(3 * SECONDS):
                    await run.one(number)

        await asyncio.gather(*(worker() for _ in range(4)))
        fenced = [p for p in psutil.Process().children(recursive=True) if "forkserver" in " ".join(p.cmdline())]
        most = max(peak(p.pid) for p in fenced)
        async with asyncio.timeout(SECONDS):
            whole = tmp_path / "0"
            whole.write_bytes(pictures.saved(pictures.corners(*SIZE), "JPEG"))
            kind = sniff.sniff(whole.read_bytes())
            assert kind is not None
            assert (await decoders.begin(whole, kind, tmp_path, False, 100_000)).width == SIZE[0]
    assert capfd.readouterr().err == "", "what decoders say of a stranger's file is in no log"
    print(dict(run.outcomes), "crashed:", run.crashed, "most memory:", most)
    assert sum(run.outcomes.values()) == MUTATIONS
    assert min(run.outcomes["taken"], run.outcomes["CorruptImage"]) > MUTATIONS / 20, "files that say something"
    assert most <= MEMORY
    assert len(run.crashed) <= MUTATIONS / 1000


def peak(pid: int) -> int:
    """Bytes of address space that a process has had at most."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmPeak"))
