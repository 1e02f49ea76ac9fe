"""Selects the lines of a container's log that a request asks for: tail, since, limit, timestamps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from .runtime import LogLine


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Describes PodLogOptions. ``since`` is a time as :class:`LogLine` has it, "" for all."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: str = ""
    tail: int | None = None
    limit: int | None = None  # bytes


async def selected(
    lines: Sequence[LogLine], more: AsyncIterator[LogLine], options: LogOptions
) -> AsyncIterator[bytes]:
    """Yields the lines that the options select: of ``lines``, which there are, and then of ``more``, which
    are yet to come, if the log is followed.
    """
    left = options.limit
    async for line in _all(lines, more, options):
        data = f"{line.time} ".encode() + line.text if options.timestamps else line.text
        if left is not None:
            data = data[:left]
            left -= len(data)
        if data:
            yield data
        if left == 0:
            return


async def _all(
    lines: Sequence[LogLine], more: AsyncIterator[LogLine], options: LogOptions
) -> AsyncIterator[LogLine]:
    there = [line for line in lines if line.time >= options.since]
    for line in there if options.tail is None else there[len(there) - min(options.tail, len(there)) :]:
        yield line
    if options.follow:
        async for line in more:
            if line.time >= options.since:
                yield line
