"""Keeps a cluster up until it is asked to end, in an event loop."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from ..cluster.state import ClusterState
from ..errors import UsageError
from ..objects.config import FlowCheck
from ..objects.kinds import Loaded
from .checking import Check, Checking
from .control import Answer, Door, answering
from .live import Live

T = TypeVar("T")


def stay(live: Live, said: str, at: Door, state: ClusterState, checks: Sequence[Loaded[FlowCheck]]) -> None:
    """Prints ``said`` on standard error, answers at the door, and returns at SIGINT. ``state`` is the state
    of the cluster, ``checks`` are the FlowChecks of its input. Raises WorkerError as soon as a server,
    speaker or proxy has ended.
    """
    asyncio.run(_stay(live, said, at, partial(_answer, live, state, checks)))
    print(file=sys.stderr)


async def _answer(
    live: Live, state: ClusterState, checks: Sequence[Loaded[FlowCheck]], request: object
) -> AsyncGenerator[object, None]:
    async def now() -> ClusterState:
        return state

    async def call(function: Callable[[], T]) -> T:
        return function()  # nothing else happens in a cluster that only stays

    if not isinstance(request, Check):
        raise UsageError("a cluster of --keep does not change: podwire up runs one that does")
    yield await Checking(live, now, lambda: checks, call).check(request)


async def _stay(live: Live, said: str, at: Door, answer: Answer) -> None:
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
        async with answering(at, answer):
            await over
    finally:
        for channel in channels:
            loop.remove_reader(channel)
        with suppress(ValueError):
            loop.remove_signal_handler(signal.SIGINT)
