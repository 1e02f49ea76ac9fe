"""Keeps a cluster up until it is asked to end, in an event loop."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress

from .live import Live


def stay(live: Live, said: str) -> None:
    """Prints ``said`` on standard error, and returns at SIGINT. Raises WorkerError as soon as a server,
    speaker or proxy has ended.
    """
    asyncio.run(_stay(live, said))
    print(file=sys.stderr)


async def _stay(live: Live, said: str) -> None:
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()

    def end() -> None:
        if not over.done():
            over.set_result(None)

    def check() -> None:
        try:
            live.check()
        except Exception as error:
            if not over.done():
                over.set_exception(error)

    channels = live.channels()
    loop.add_signal_handler(signal.SIGINT, end)
    for channel in channels:  # readable when its process has ended
        loop.add_reader(channel, check)
    print(said, file=sys.stderr, flush=True)
    try:
        await over
    finally:
        for channel in channels:
            loop.remove_reader(channel)
        with suppress(ValueError):
            loop.remove_signal_handler(signal.SIGINT)
