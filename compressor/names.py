"""What the system's resolver says of names that strangers gave, whose servers may never answer.

It is asked in threads of its own: no work on the disk waits for them, nor does the end of the process.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress

MOST_LOOKUPS = 16  # at once
POLL_SECONDS = 0.05
_free = threading.BoundedSemaphore(MOST_LOOKUPS)

Answer = asyncio.Future[list[str]]


async def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host. A lookup that nobody waits for any more keeps its place until the resolver gives up."""
    while True:
        if _free.acquire(blocking=False):
            break
        await asyncio.sleep(POLL_SECONDS)
    loop = asyncio.get_running_loop()
    answer: Answer = loop.create_future()

    def ask() -> None:
        found: list[str] | Exception
        try:
            told = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = [str(sockaddr[0]) for *_, sockaddr in told]
        except Exception as e:
            found = e
        finally:
            _free.release()
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_tell, answer, found)

    try:
        threading.Thread(target=ask, name="lookup", daemon=True).start()
    except RuntimeError:  # there are too many threads
        _free.release()
        raise OSError("no thread to ask in") from None
    return await answer


def _tell(answer: Answer, found: list[str] | Exception) -> None:
    if answer.done():
        return
    if isinstance(found, Exception):
        answer.set_exception(found)
    else:
        answer.set_result(found)
