"""Pictures in the light of HDR video, brought to that of screens: what is as bright as paper becomes nearly white, and what
is brighter keeps some of its shape.

Transfer functions and matrices are BT.2100's and BT.2087's, tones are BT.2390's (5.4.1) for a peak of 1000 cd/m² shown on a
screen whose white is the reference white of BT.2408, by the brightest of the three colours, so that hues stay.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import exp

from PIL import Image, ImageFilter

PQ, HLG, BT2020 = 16, 18, 9  # H.273: transfer characteristics, tables 3; matrix coefficients, table 4
PEAK, WHITE = 1000.0, 203.0  # cd/m²
STEPS = 33  # of the signal, along each colour
M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
A, B, C = 0.17883277, 0.28466892, 0.55991073
LUMINANCE = (0.2627, 0.6780, 0.0593)
TO_709 = ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187))
Colour = tuple[float, float, float]


def is_hdr(transfer: int | None) -> bool:
    return transfer in (PQ, HLG)


def mark(image: Image.Image, transfer: int | None) -> None:
    """Notes the transfer characteristic of a picture that is yet to be brought to that of screens. What a format keeps in
    `info` is lost where a picture that moves begins anew."""
    image.transfer = transfer  # type: ignore[attr-defined]


def marked(image: Image.Image) -> int | None:
    """What was noted, where it is HDR's."""
    transfer: int | None = getattr(image, "transfer", None)
    return transfer if is_hdr(transfer) else None


def shown(image: Image.Image, transfer: int) -> Image.Image:
    """An RGB picture of this transfer characteristic and BT.2020's colours, in sRGB."""
    return image.filter(_table(transfer))


@cache
def _table(transfer: int) -> ImageFilter.Color3DLUT:
    light = _light_of_pq if transfer == PQ else _light_of_hlg

    def mapped(red: float, green: float, blue: float) -> Colour:
        return _on_screen(light((red, green, blue)))

    return ImageFilter.Color3DLUT.generate(STEPS, mapped)


def _light_of_pq(signal: Colour) -> Colour:
    return _each(_pq_light, signal)


def _light_of_hlg(signal: Colour) -> Colour:
    scene = _each(_hlg_scene, signal)
    gain = PEAK * sum(k * c for k, c in zip(LUMINANCE, scene, strict=True)) ** 0.2
    return _each(lambda c: gain * c, scene)


@cache
def _hlg_scene(signal: float) -> float:
    return signal**2 / 3 if signal <= 0.5 else (exp((signal - C) / A) + B) / 12


def _pq_light(signal: float) -> float:
    power = signal ** (1 / M2)
    return 10_000 * float((max(power - C1, 0) / (C2 - C3 * power)) ** (1 / M1))


def _pq_signal(light: float) -> float:
    power = (light / 10_000) ** M1
    return float(((C1 + C2 * power) / (1 + C3 * power)) ** M2)


TOP = _pq_signal(PEAK)
MOST = _pq_signal(WHITE) / TOP
KNEE = 1.5 * MOST - 0.5


def _on_screen(light: Colour) -> Colour:
    brightest = max(light)
    gain = 1.0 if brightest <= 0 else _toned(min(brightest, PEAK)) / brightest
    return _each(_srgb, _in_709(_each(lambda c: c * gain / WHITE, light)))


def _toned(light: float) -> float:
    signal = _pq_signal(light) / TOP
    if signal < KNEE:
        return light
    t = (signal - KNEE) / (1 - KNEE)
    bent = (2 * t**3 - 3 * t**2 + 1) * KNEE + (t**3 - 2 * t**2 + t) * (1 - KNEE) + (3 * t**2 - 2 * t**3) * MOST
    return _pq_light(bent * TOP)


def _in_709(light: Colour) -> Colour:
    red, green, blue = (sum(k * c for k, c in zip(row, light, strict=True)) for row in TO_709)
    return red, green, blue


def _srgb(light: float) -> float:
    light = min(max(light, 0.0), 1.0)
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _each(change: Callable[[float], float], colour: Colour) -> Colour:
    return change(colour[0]), change(colour[1]), change(colour[2])
