"""The same ladders by libvips: one order a line on stdin, one answer a line on stdout."""

import json
import pathlib
import sys
import time

import pyvips

SIDES = (10, 40, 160, 320, 640, 1080)
MOVING_FROM = 3
pyvips.cache_set_max(0)


def saved(image: pyvips.Image, order: dict, number: int) -> None:
    quality, effort = order["qualities"][number], order["efforts"][number]
    image.webpsave(f"{order['out']}/{number + 1}.webp", Q=quality, effort=effort, alpha_q=max(quality, 20), keep="none")


def each(order: dict) -> None:
    """Every rung from the file, with what shrinking on load its loader can do."""
    for number, side in enumerate(SIDES):
        pages = "[n=-1]" if order["animated"] and number + 1 >= MOVING_FROM else ""
        image = pyvips.Image.thumbnail(order["path"] + pages, side, height=side, size="down")
        saved(image, order, number)


def cascade(order: dict) -> None:
    """The top rung from the file, each other from the one above."""
    image = pyvips.Image.thumbnail(order["path"], SIDES[-1], height=SIDES[-1], size="down").copy_memory()
    for number in reversed(range(len(SIDES))):
        if number < len(SIDES) - 1:
            image = image.thumbnail_image(SIDES[number], height=SIDES[number], size="down").copy_memory()
        saved(image, order, number)


for line in sys.stdin:
    asked = json.loads(line)
    way = {"each": each, "cascade": cascade}[asked["way"]]
    seconds = 0.0
    for _ in range(asked["times"]):
        for left in pathlib.Path(asked["out"]).glob("*.webp"):
            left.unlink()
        began = time.perf_counter()
        way(asked)
        seconds += time.perf_counter() - began
    print(json.dumps({"seconds": seconds}), flush=True)
