"""Provides a runtime over processes and sockets of this machine: every Pod is this machine."""

from __future__ import annotations

import asyncio
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from fcntl import ioctl
from typing import Any

from emulator.serving.runtime import LogLine, RuntimeRefusedError


class LocalProcess:
    def __init__(
        self,
        process: asyncio.subprocess.Process,
        output: asyncio.StreamReader,
        terminal: int,
        *descriptors: Callable[[], None],
    ) -> None:
        self._process, self._terminal, self._descriptors = process, terminal, descriptors
        self.stdout = output
        self.stderr = process.stderr
        self.released = False

    async def write(self, data: bytes) -> None:
        if self._terminal >= 0:
            os.write(self._terminal, data)
        elif self._process.stdin is not None:
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    async def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal >= 0:
            ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def wait(self) -> int:
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def release(self) -> None:
        self.released = True
        if self._process.returncode is None:
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def end(self) -> None:
        """Waits for the process, and closes all that it had."""
        self.release()
        await self._process.wait()
        self._process._transport.close()  # type: ignore[attr-defined]
        for terminal in self._descriptors:
            terminal()


class LocalRuntime:
    """Runs commands here; ``lines`` and ``coming`` are every container's log."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = []
        self.coming: list[LogLine] = []
        self.started: list[LocalProcess] = []

    async def exec(
        self, pod: Mapping[str, Any], container: str, argv: Sequence[str], *, tty: bool, stdin: bool
    ) -> LocalProcess:
        pipe = asyncio.subprocess.PIPE
        if tty:
            master, slave = pty.openpty()
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
            )
            os.close(slave)
            reader = asyncio.StreamReader()
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: _Terminal(reader), os.fdopen(os.dup(master), "rb", 0)
            )
            one = LocalProcess(process, reader, master, transport.close, lambda: os.close(master))
        else:
            try:
                process = await asyncio.create_subprocess_exec(
                    *argv, stdin=pipe if stdin else asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
                )
            except OSError as error:
                raise RuntimeRefusedError(f"{argv[0]}: {error.strerror}") from error
            assert process.stdout is not None
            one = LocalProcess(process, process.stdout, -1)
        self.started.append(one)
        return one

    async def end(self) -> None:
        """Ends all that it has started."""
        for process in self.started:
            await process.end()

    async def attach(self, pod: Mapping[str, Any], container: str, *, tty: bool, stdin: bool) -> LocalProcess:
        return await self.exec(pod, container, ["cat"], tty=tty, stdin=stdin)

    async def logs(
        self, pod: Mapping[str, Any], container: str, *, previous: bool
    ) -> tuple[Sequence[LogLine], AsyncIterator[LogLine]]:
        if previous:
            raise RuntimeRefusedError(f'previous terminated container "{container}" not found')
        return [*self.lines], self._coming()

    async def _coming(self) -> AsyncIterator[LogLine]:
        for line in self.coming:
            await asyncio.sleep(0.01)
            yield line

    async def connect(
        self, pod: Mapping[str, Any], port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", port)


class _Terminal(asyncio.StreamReaderProtocol):
    """Reads a terminal's end, which is an error (EIO), as the end of its output."""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(None if isinstance(exc, OSError) else exc)
