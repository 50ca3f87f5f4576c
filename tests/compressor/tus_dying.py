"""A resumable upload in a process that is killed at its n-th step on the disk or in the database.

`python tus_dying.py whole N USER` begins an upload and sends it in two pieces; `joined` puts two parts together, which are
there before it is armed. It prints the media's id where that was answered.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys

from chipmunk import config
from tests.compressor.conftest import House, house_of, photo
from tests.compressor.dying import Doom, prepare
from tests.compressor.tus import create, created, patch

PHOTO = photo()
HALF = len(PHOTO) // 2
PIECES = (PHOTO[:HALF], PHOTO[HALF:])


async def whole(house: House, doom: Doom, user: str) -> str:
    doom.armed = True
    where = await created(house, len(PHOTO), user=user)
    await patch(house, where, PIECES[0])
    return (await patch(house, where, PIECES[1], HALF)).headers["chipmunk-media"]


async def joined(house: House, doom: Doom, user: str) -> str:
    partial = {"upload-concat": "partial"}
    parts = [await created(house, len(piece), content=piece, headers=partial, user=user) for piece in PIECES]
    doom.armed = True
    answer = await create(house, headers={"upload-concat": f"final;{' '.join(parts)}"}, user=user)
    return answer.headers["chipmunk-media"]


async def main(how: str, step: int, user: str) -> None:
    doom = Doom(step)
    prepare(doom)
    for name in ("pwrite", "ftruncate", "fdatasync", "copy_file_range"):
        doom.around(os, name)
    doom.around(shutil, "rmtree")
    async with house_of(config.load()) as house:
        print(await {"whole": whole, "joined": joined}[how](house, doom, user), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
