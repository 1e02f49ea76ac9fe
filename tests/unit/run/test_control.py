"""Tests the way from another terminal to a cluster's process, both ends in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from functools import partial

import pytest

from emulator import __version__
from emulator.errors import UsageError
from emulator.run.clusters import Running, read_announcement
from emulator.run.control import answering, ask, door, is_own_name

RUNNING = read_announcement(1, {"topology": "shop", "release": __version__})


async def echo(request: object) -> AsyncGenerator[object, None]:
    """Answers with each part of the request, and refuses the part "bad"."""
    for part in request if isinstance(request, Sequence) else ():
        if part == "bad":
            raise UsageError("this is bad")
        yield part


def asked(request: object, running: Running = RUNNING, most: int = 100) -> list[object]:
    """Returns the first ``most`` answers to ``request``."""

    def take(running: Running) -> list[object]:
        return [answer for answer, _ in zip(ask(running, request), range(most), strict=False)]

    async def serve() -> list[object]:
        with door() as at:
            assert is_own_name(at.name)
            async with answering(at, echo):
                known = running if running.control else replace(running, control=at.name)
                return await asyncio.to_thread(partial(take, known))

    return asyncio.run(serve())


def test_answers_come_one_by_one_and_are_whole() -> None:
    long = "x" * 1_000_000
    assert asked(["a", long, 3]) == ["a", long, 3]
    assert asked([]) == []


def test_what_is_refused_is_raised_here() -> None:
    with pytest.raises(UsageError, match="this is bad"):
        asked(["a", "bad"])


def test_a_caller_that_goes_ends_the_answer() -> None:
    assert asked(["a"] * 1_000_000, most=2) == ["a", "a"]


@pytest.mark.parametrize(
    ("running", "said"),
    [
        (replace(RUNNING, release="0.0.1"), "is of another release"),
        (replace(RUNNING, control="podwire-control/4711/1/ab"), "takes no requests"),
        (replace(RUNNING, control="\0else"), "takes no requests"),
    ],
)
def test_a_cluster_that_cannot_be_asked_is_not(running: Running, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        asked([], running)
