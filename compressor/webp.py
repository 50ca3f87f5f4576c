"""Decoding a still, opaque WebP at a smaller size, which Pillow has no way to ask its own libwebp for.

https://developers.google.com/speed/webp/docs/api: the structures below are those of `webp/decode.h`, ABI 2.x.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from PIL import Image

ABI = 0x0209
RGBA, LOSSY, OK = 1, 1, 0
SMALLEST = 1.3  # what is left for a better filter, as a factor


class Features(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("width", "height", "has_alpha", "has_animation", "format")),
        ("pad", ctypes.c_uint32 * 5),
    )


class Pixels(ctypes.Structure):
    _fields_ = (("rgba", ctypes.c_void_p), ("stride", ctypes.c_int), ("size", ctypes.c_size_t))


class Planes(ctypes.Structure):
    _fields_ = (
        ("planes", ctypes.c_void_p * 4),
        ("strides", ctypes.c_int * 4),
        ("sizes", ctypes.c_size_t * 4),
    )


class Either(ctypes.Union):
    _fields_ = (("pixels", Pixels), ("planes", Planes))


class Buffer(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("colorspace", "width", "height", "is_external_memory")),
        ("u", Either),
        ("pad", ctypes.c_uint32 * 4),
        ("private_memory", ctypes.c_void_p),
    )


class Options(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int) for name in ("bypass_filtering", "no_fancy_upsampling", "use_cropping")),
        *((name, ctypes.c_int) for name in ("crop_left", "crop_top", "crop_width", "crop_height")),
        *((name, ctypes.c_int) for name in ("use_scaling", "scaled_width", "scaled_height", "use_threads")),
        *((name, ctypes.c_int) for name in ("dithering_strength", "flip", "alpha_dithering_strength")),
        ("pad", ctypes.c_uint32 * 5),
    )


class Config(ctypes.Structure):
    _fields_ = (("input", Features), ("output", Buffer), ("options", Options))


@cache
def library() -> ctypes.CDLL | None:
    """The libwebp that Pillow has loaded, or None where it is linked in or of another ABI."""
    from PIL import _webp  # noqa: F401

    maps = (line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines())
    for path in sorted({path for path in maps if Path(path).name.startswith(("libwebp-", "libwebp.so"))}):
        found = ctypes.CDLL(path)
        found.WebPDecode.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(Config)]
        if found.WebPInitDecoderConfigInternal(ctypes.byref(Config()), ABI):
            return found
    return None


def shrunk(data: bytes, size: tuple[int, int], factor: float) -> Image.Image | None:
    """The picture in RGB, about `factor` times as small or less; None where Pillow has to do it."""
    library_, divisor = library(), int(factor / SMALLEST)
    config = Config()
    if library_ is None or divisor < 2 or not library_.WebPInitDecoderConfigInternal(ctypes.byref(config), ABI):
        return None
    seen, features = config.input, ctypes.byref(config.input)
    if library_.WebPGetFeaturesInternal(data, ctypes.c_size_t(len(data)), features, ABI) != OK:
        return None
    if seen.has_alpha or seen.has_animation or seen.format != LOSSY or (seen.width, seen.height) != size:
        return None
    width, height = -(-seen.width // divisor), -(-seen.height // divisor)
    pixels = ctypes.create_string_buffer(width * height * 4)
    config.options.use_scaling, config.options.scaled_width, config.options.scaled_height = 1, width, height
    config.output.colorspace, config.output.is_external_memory = RGBA, 1
    config.output.u.pixels = Pixels(ctypes.addressof(pixels), width * 4, len(pixels))
    if library_.WebPDecode(data, len(data), ctypes.byref(config)) != OK:
        return None
    return Image.frombytes("RGB", (width, height), memoryview(pixels), "raw", "RGBX")
