"""What runs in a decoding process: rungs 1 to 3, before an upload is answered, and all above, by a job."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pillow_heif
from PIL import Image

from chipmunk import edits
from chipmunk.errors import BadEdits, Problem
from chipmunk.renditions import PREVIEWS, REEL
from compressor import animation, attention, audio, encode, film, handover, overlay, provenance, reel, waveform
from compressor.begun import Begun
from compressor.ladder import RUNGS, Budget, Rung, RungFile, plan
from compressor.limits import Limits, confine
from compressor.overlay import Layer
from compressor.palette import palette
from compressor.phash import phash
from compressor.pictures import Source, base, opened, telling_what_broke, upright_size, whole
from compressor.scaling import resized
from compressor.sniff import Kind
from compressor.thumb import placeholder

LOWER, UPPER = (1, 2, 3), (4, 5, 6)
LOSSLESS = frozenset({"image/png", "image/gif", "image/bmp", "image/tiff", "image/x-icon"})
PREVIEWS_SHARE = 6  # of what an animation's ladder may still take: a sixth
Stamps = Mapping[str, tuple[Path, Kind]]  # by the id of the media
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 32 * 1024 * 1024


def prepare(limits: Limits) -> None:
    """Once in each process, before anything is decoded."""
    global LIMITS
    LIMITS = limits
    gc.freeze()  # what was forked stays the others' memory too, while it is looked through for nothing
    pillow_heif.register_heif_opener(thumbnails=False)
    Image.preinit()
    keep_memory()
    os.dup2(
        os.open(os.devnull, os.O_WRONLY), 2
    )  # where libraries say what is wrong with a stranger's file, in no log's form
    confine(limits.memory_bytes)


def keep_memory() -> None:
    """Has glibc keep what a picture leaves free for the next: from the kernel it comes back page by page.

    The numbers are those of malloc.h; 32 MiB is the most that it takes. Another libc has no mallopt.
    """
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


LIMITS: Limits


def begin(path: Path, kind: Kind, out: Path, square: bool, cap: int) -> Begun:
    """Looks into the file and makes rungs 1 to 3 within their share of `cap`."""
    said = _said(path)
    begun = _begin(path, kind, out, square, cap - provenance.cost(said, len(RUNGS)))
    rungs = provenance.tell(out, begun.rungs, said) if said else begun.rungs
    return replace(begun, rungs=rungs, provenance=provenance.read(path, kind.mime, LIMITS.anchors))


def _said(path: Path) -> bytes:
    """What renditions say of their original, where the operator wants it."""
    if not LIMITS.rendition_xmp:
        return b""
    with path.open("rb") as file:
        return provenance.packet(hashlib.file_digest(file, "sha256").hexdigest())


def _begin(path: Path, kind: Kind, out: Path, square: bool, cap: int) -> Begun:
    with telling_what_broke():
        if kind.kind == "audio":
            return _begin_audio(path, kind, out, square, cap)
        if kind.kind == "video":
            return _begin_video(path, kind, out, square, cap)
        return _begin_picture(path, kind, out, square, cap)


def finish(
    path: Path, kind: Kind, out: Path, crop: float | None, cap: int, overlays: tuple[Path, ...] = ()
) -> list[RungFile]:
    """Makes rungs 4 to 6, and preview frames of what moves, within `cap`, cut as `begin` had them.

    Again is fine: each file is replaced whole by the same one.
    """
    said = _said(path)
    most = len(UPPER) + (len(PREVIEWS) if kind.mime in animation.MIMES else 0)
    lay = overlay.layer([overlay.read(one, LIMITS.max_pixels) for one in overlays])
    made = _finish(path, kind, out, crop, cap - provenance.cost(said, most), lay)
    if not said:
        return made
    told = [one for one in made if one.quality != REEL]
    return [*provenance.tell(out, told, said), *(one for one in made if one.quality == REEL)]


def _finish(path: Path, kind: Kind, out: Path, crop: float | None, cap: int, lay: Layer) -> list[RungFile]:
    with telling_what_broke():
        if kind.kind == "image":
            made = _finish_picture(path, kind, out, crop, cap, path.parent, lay)
        else:
            made = _finish_other(path, kind, out, crop, cap, lay)
    handover.drop(path.parent)
    return made


def _finish_picture(
    source: Source, kind: Kind, out: Path, crop: float | None, cap: int, left: Path | None, lay: Layer
) -> list[RungFile]:
    """From what begin may have `left` in a folder, or from the source. Without the one it is a cover, and needs no previews."""
    began = monotonic()
    with opened(source, kind.mime, LIMITS.max_pixels) as image:
        rungs = _rungs(image, crop is not None, UPPER)
        budget = Budget(cap, UPPER)
        if animation.frame_count(image, LIMITS) > 1:
            previews = animation.preview(image, crop, cap // PREVIEWS_SHARE, out, LIMITS, lay) if left else []
            budget = Budget(cap - sum(p.bytes for p in previews), UPPER)
            made = [*animation.climb(image, rungs, crop, budget, out, LIMITS, lay)[0], *previews]
            left_over = cap - sum(m.bytes for m in made)
            return made + reel.of(source, image, crop, left_over, out, began + LIMITS.seconds / 2, lay)
        top = (left and handover.kept(left, rungs[-1])) or base(image, UPPER[-1], crop)
        return encode.climb(lay(top), rungs, budget, out, LIMITS)


def _finish_other(path: Path, kind: Kind, out: Path, crop: float | None, cap: int, lay: Layer) -> list[RungFile]:
    """From the poster or the drawing that begin has kept; without it, from the one that is found or made again."""
    top = handover.kept(path.parent)
    if top is None and kind.kind == "video":
        _, poster = film.read(path, kind.mime, LIMITS)
        top = None if poster is None else base(poster, UPPER[-1], crop)
    if top is None:
        music, cover = audio.read(path, _sound(kind).mime)
        if cover is not None:
            with suppress(Problem), telling_what_broke():
                return _finish_picture(*audio.cover_file(cover), out, crop, cap, None, lay)
        top = waveform.drawn(path, _sound(kind).mime, music["duration_seconds"] or 0, crop is not None)
    return encode.climb(lay(top), _rungs(top, crop is not None, UPPER), Budget(cap, UPPER), out, LIMITS)


def edit(path: Path, kind: Kind, out: Path, text: str, format: str | None, stamps: Stamps) -> None:
    """Makes `out` what these edits make of a still picture, in this format or, as a new original, as a PNG where it is clear in
    places or was kept without loss, else as a JPEG. `stamps` has the media that are laid over it."""
    from compressor import editing

    wanted = edits.parse(text)
    with telling_what_broke(), opened(path, kind.mime, LIMITS.max_pixels) as image:
        if animation.frame_count(image, LIMITS) > 1:
            raise BadEdits("What moves is not edited.")
        edits.sized(wanted, *upright_size(image), LIMITS.max_pixels)
        made = editing.edited(whole(image), wanted, lambda media: _stamp(*stamps[media]))
    if format is not None:
        encode.variant(made, out, format)
    else:
        encode.still(made, out, lossless=kind.mime in LOSSLESS)


def _stamp(path: Path, kind: Kind) -> Image.Image:
    with opened(path, kind.mime, LIMITS.max_pixels) as image:
        if animation.frame_count(image, LIMITS) > 1:
            raise BadEdits("What moves is no stamp.", field="stamp")
        return whole(image)


def look(path: Path) -> tuple[list[int], int | None]:
    """The colours and the hash of a media, by a rendition of it that was made here."""
    with telling_what_broke(), opened(path, "image/webp", LIMITS.max_pixels) as image:
        low = base(image, LOWER[-1], None)
        return palette(low), phash(low)


def _rungs(image: Image.Image, square: bool, qualities: tuple[int, ...]) -> list[Rung]:
    return [r for r in plan(*upright_size(image), square) if r.quality in qualities]


def _begin_picture(source: Source, kind: Kind, out: Path, square: bool, cap: int) -> Begun:
    crop = _crop(source, kind) if square else None
    with opened(source, kind.mime, LIMITS.max_pixels) as image:
        width, height = upright_size(image)
        frames, motion = animation.frame_count(image, LIMITS), dict[str, Any]()
        rungs = _rungs(image, square, LOWER)
        if frames > 1:
            low = base(image, LOWER[-1], crop)
            made = encode.climb(low, rungs[:2], Budget(cap // 25, LOWER[:2]), out, LIMITS)
            upper, motion = animation.climb(image, rungs[2:], crop, Budget(cap // 2, LOWER[2:]), out, LIMITS)
            made += upper
        else:
            low = _low(image, source, crop, rungs[-1])
            made = encode.climb(low, rungs, Budget(cap // 10, LOWER), out, LIMITS)
    begun = Begun(
        kind.kind, kind.mime, width, height, frames, None, placeholder(low), made, has_picture=True, motion=motion
    )
    return replace(begun, crop=crop, palette=palette(low), phash=phash(low))


def _crop(source: Source, kind: Kind) -> float:
    """Where the square is cut out; where that has to be looked for the picture is decoded once more."""
    if LIMITS.crop == "centre":
        return attention.CENTRE
    with opened(source, kind.mime, LIMITS.max_pixels) as image:
        return attention.place(base(image, LOWER[-1], None))


def _low(image: Image.Image, source: Source, crop: float | None, rung: Rung) -> Image.Image:
    """The picture at this rung's size; where decoding costs much, made from that at rung 6's, which is kept for later."""
    if not isinstance(source, Path) or not handover.pays(image, source.stat().st_size):
        return base(image, LOWER[-1], crop)
    top = base(image, UPPER[-1], crop)
    handover.keep(top, source.parent)
    return resized(top, (rung.width, rung.height))


def _begin_audio(path: Path, kind: Kind, out: Path, square: bool, cap: int) -> Begun:
    music, cover = audio.read(path, _sound(kind).mime)
    seconds = music["duration_seconds"]
    if cover is not None:
        try:
            source, picture = audio.cover_file(cover)
            with telling_what_broke():
                seen = _begin_picture(source, picture, out, square, cap)
            return replace(
                seen, kind="audio", mime=kind.mime, motion={}, duration_seconds=seconds, music={**music, "cover": True}
            )
        except Problem:  # a broken cover is no reason to refuse the music
            for left in out.glob("[1-6].webp"):
                left.unlink()
    top = waveform.drawn(path, kind.mime, seconds or 0, square)
    low, made = _begin_still(top, path.parent, out, square, cap)
    music["cover"] = False
    return Begun(
        "audio",
        kind.mime,
        duration_seconds=seconds,
        placeholder=placeholder(low),
        rungs=made,
        music=music,
        has_picture=True,
        crop=attention.CENTRE if square else None,
    )


def _sound(kind: Kind) -> Kind:
    """What a container is where there is sound alone in it."""
    return replace(kind, kind="audio", mime=kind.mime.replace("video/", "audio/"))


def _begin_video(path: Path, kind: Kind, out: Path, square: bool, cap: int) -> Begun:
    motion, poster = film.read(path, kind.mime, LIMITS)
    if poster is None:
        return _begin_audio(path, _sound(kind), out, square, cap)
    crop = None
    if square:
        crop = attention.place(base(poster, LOWER[-1], None)) if LIMITS.crop == "attention" else attention.CENTRE
    low, made = _begin_still(base(poster, UPPER[-1], crop), path.parent, out, square, cap)
    width, height = poster.size
    begun = Begun("video", kind.mime, width, height, placeholder=placeholder(low), rungs=made, has_picture=True)
    return replace(begun, motion=motion, crop=crop, palette=palette(low), phash=phash(low))


def _begin_still(
    top: Image.Image, folder: Path, out: Path, square: bool, cap: int
) -> tuple[Image.Image, list[RungFile]]:
    """Rungs 1 to 3 of a picture that costs much to find or to draw, which is kept for those above."""
    handover.keep(top, folder)
    rungs = _rungs(top, square, LOWER)
    low = resized(top, (rungs[-1].width, rungs[-1].height))
    return low, encode.climb(low, rungs, Budget(cap // 10, LOWER), out, LIMITS)


def nap(seconds: float) -> int:
    """For the pool's own warm-up: shows that the process is there, and which it is."""
    import time

    time.sleep(seconds)
    return os.getpid()
