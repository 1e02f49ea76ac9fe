"""Serves exec, attach, logs and port-forward of a live cluster in its Pods."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import socket
import struct
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ..cluster.state import pod_netns
from ..objects.kinds import Container, Pod
from ..serving.identity import Identity
from ..serving.runtime import LogLine, Process, RuntimeRefusedError
from ..workload.commands import environment
from ..workload.journal import Journal
from ..workload.launcher import Gone, Launch, Launcher, Started
from ..workload.servicevars import service_variables
from .engine import Engine

_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_LOOK = 0.1  # seconds between two looks at a log that is followed
_BLOCK = 1 << 16


class PodRuntime:
    """Implements :class:`emulator.serving.runtime.Runtime` over the kernel."""

    def __init__(self, engine: Engine, launcher: Launcher, journal: Journal, identity: Identity) -> None:
        self._engine, self._launcher, self._journal, self._identity = engine, launcher, journal, identity
        self._waiting: dict[int, asyncio.Future[str]] = {}  # by number: why it was not started
        self._running: dict[int, asyncio.Future[int]] = {}
        self._pods: dict[int, str] = {}  # by number: the uid of its Pod
        asyncio.get_running_loop().add_reader(launcher.fileno(), self._take)

    def follow(self) -> None:
        """Ends the processes in Pods that are gone."""
        for number, uid in self._pods.items():
            if uid not in self._engine.facts.up:
                self._launcher.kill(number)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._launcher.fileno())

    def _take(self) -> None:
        for message in self._launcher.take():
            if isinstance(message, Started):
                if (started := self._waiting.pop(message.number, None)) and not started.done():
                    started.set_result(message.refusal)
            elif isinstance(message, Gone):
                ended = self._running.pop(message.number, None)
                self._pods.pop(message.number, None)
                if ended and not ended.done():
                    ended.set_result(message.code)

    # --- processes ----------------------------------------------------------------------------------------

    async def exec(
        self, pod: Mapping[str, Any], container: str, argv: Sequence[str], *, tty: bool, stdin: bool
    ) -> Process:
        """Starts the host's program ``argv`` in the Pod, confined as a container's command is."""
        typed, one = self._find(pod, container)
        launch = Launch(
            netns=pod_netns(typed),
            argv=tuple(argv),
            environment={
                **service_variables(self._engine.state.services, typed.namespace),
                **environment(self._engine.state, typed, one),
                **({"TERM": "xterm"} if tty else {}),
            },
            hostname=typed.spec.hostname or typed.name,
            files=self._account(pod, typed),
            terminal=tty,
            kept=True,
            **({"directory": one.workingDir} if one.workingDir else {}),
        )
        ends, descriptors = _terminal() if tty else _pipes(stdin)
        try:
            number = self._launcher.start(launch, descriptors)
        except OSError as error:
            _close(ends)
            raise RuntimeRefusedError(str(error)) from None
        finally:
            for fd in set(descriptors):
                os.close(fd)
        loop = asyncio.get_running_loop()
        self._waiting[number], self._running[number] = loop.create_future(), loop.create_future()
        ended = self._running[number]
        self._pods[number] = pod["metadata"]["uid"]
        if refusal := await self._waiting[number]:
            self._running.pop(number, None)
            self._pods.pop(number, None)
            _close(ends)
            raise RuntimeRefusedError(f"cannot run it: {refusal}")
        kill = partial(self._kill, number)
        return await _Started.open(ends, ended, kill, tty)

    async def run(self, pod: Mapping[str, Any], container: str, command: Sequence[str]) -> int:
        """Returns the exit code of a command in a container."""
        process = await self.exec(pod, container, command, tty=False, stdin=False)
        try:
            return await process.wait()
        finally:
            process.release()

    def _kill(self, number: int, signum: int) -> None:
        if number in self._running:
            self._launcher.kill(number, signum)

    async def attach(self, pod: Mapping[str, Any], container: str, *, tty: bool, stdin: bool) -> Process:
        """Returns the output of the built-in server, which is its log, from now on. It has no terminal, and
        reads no input.
        """
        del tty, stdin
        self._find(pod, container)
        _, coming = await self.logs(pod, container, previous=False)
        return _Attached(coming)

    def _find(self, pod: Mapping[str, Any], container: str) -> tuple[Pod, Container]:
        """Returns the Pod as the kernel has it, and its container."""
        meta = pod["metadata"]
        typed = self._engine.state.pod.get(f"{meta['namespace']}/{meta['name']}")
        if typed is None or meta["uid"] not in self._engine.facts.up:
            raise RuntimeRefusedError(f"container {container} of Pod {meta['name']} has not started")
        for one in (*typed.spec.containers, *typed.spec.initContainers):
            if one.name == container:
                return typed, one
        raise RuntimeRefusedError(f"container {container} is not valid for pod {meta['name']}")

    def _account(self, pod: Mapping[str, Any], typed: Pod) -> dict[str, str]:
        """Returns the files of the Pod's service account, where Kubernetes mounts them."""
        spec, store = pod.get("spec", {}), self._engine.plane.store
        if spec.get("automountServiceAccountToken") is False:
            return {}
        name = spec.get("serviceAccountName") or "default"
        accounts = store.list("ServiceAccount", typed.namespace)
        account = next((one for one in accounts if one.key.name == name), None)
        if account is None:
            return {}
        bound = {"pod": {"name": typed.name, "uid": pod["metadata"]["uid"]}}
        token, _ = self._identity.tokens.issue(
            typed.namespace, {"name": name, "uid": account.uid}, bound=bound
        )
        return {
            f"{_ACCOUNT}/token": token,
            f"{_ACCOUNT}/ca.crt": self._identity.authority.certificate.decode(),
            f"{_ACCOUNT}/namespace": typed.namespace,
        }

    # --- logs and connections -------------------------------------------------------------------------------

    async def logs(
        self, pod: Mapping[str, Any], container: str, *, previous: bool
    ) -> tuple[Sequence[LogLine], AsyncIterator[LogLine]]:
        meta = pod["metadata"]
        key = f"{meta['namespace']}/{meta['name']}"
        self._find(pod, container)
        path = self._journal.path(key, container)
        run = self._engine.facts.runs.get(meta["uid"], {}).get(container)
        if previous and (run is None or run.last is None):
            raise RuntimeRefusedError(
                f'previous terminated container "{container}" in pod "{meta["name"]}" not found'
            )
        lines, at = [*_read(self._journal.older(key, container), 0)[0]], 0
        new, at = _read(path, 0)
        if run is not None and run.last is not None:  # a log begins with its container
            begin = run.last_since if previous else run.since
            end = run.since if previous else "~"
            shown = [line for line in (*lines, *new) if begin[:19] <= line.time[:19] < end[:19]]
            return shown, _nothing() if previous else self._follow(path, at, meta["uid"])
        return [*lines, *new], self._follow(path, at, meta["uid"])

    async def _follow(self, path: Path, at: int, uid: str) -> AsyncIterator[LogLine]:
        """Yields the lines that come into ``path`` behind byte ``at``, until the Pod is gone."""
        identity = _identity(path)
        while True:
            now = _identity(path)
            if now != identity:  # it was full, and another one begins
                identity, at = now, 0
            lines, at = _read(path, at)
            for line in lines:
                yield line
            if uid not in self._engine.facts.up:
                return
            await asyncio.sleep(_LOOK)

    async def connect(
        self, pod: Mapping[str, Any], port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        meta = pod["metadata"]
        typed = self._engine.state.pod.get(f"{meta['namespace']}/{meta['name']}")
        if typed is None:
            raise RuntimeRefusedError(f"Pod {meta['name']} is not running")
        enter = self._engine.namespaces.call_in
        sock = await self._engine.in_kernel(partial(enter, pod_netns(typed), _socket))
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            return await asyncio.open_connection(sock=sock)
        except BaseException:
            sock.close()
            raise


def _close(descriptors: Sequence[int]) -> None:
    for fd in descriptors:
        if fd >= 0:  # the input that nobody asked for has none
            os.close(fd)


def _socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)


def _pipes(stdin: bool) -> tuple[list[int], list[int]]:
    """Returns our ends (input, output, errors) and the process' ends of three pipes."""
    theirs_in, ours_in = os.pipe2(os.O_CLOEXEC)
    ours_out, theirs_out = os.pipe2(os.O_CLOEXEC)
    ours_err, theirs_err = os.pipe2(os.O_CLOEXEC)
    if not stdin:
        os.close(ours_in)
        return [-1, ours_out, ours_err], [theirs_in, theirs_out, theirs_err]
    return [ours_in, ours_out, ours_err], [theirs_in, theirs_out, theirs_err]


def _terminal() -> tuple[list[int], list[int]]:
    """Returns our end and the process' end of a terminal."""
    ours, theirs = pty.openpty()
    return [ours], [theirs, theirs, theirs]


class _Started:
    """Implements :class:`emulator.serving.runtime.Process` for a process that the launcher started."""

    def __init__(self, ended: asyncio.Future[int], kill: Callable[[int], None], terminal: int) -> None:
        self._ended, self._kill, self._terminal = ended, kill, terminal
        self._input: asyncio.StreamWriter | None = None
        self._open: list[asyncio.BaseTransport] = []
        self.stdout = asyncio.StreamReader()
        self.stderr: asyncio.StreamReader | None = None

    @classmethod
    async def open(
        cls, ends: Sequence[int], ended: asyncio.Future[int], kill: Callable[[int], None], tty: bool
    ) -> _Started:
        """Returns the process with our ``ends`` of its pipes, or of its terminal."""
        made = cls(ended, kill, ends[0] if tty else -1)
        if tty:
            await made._read(os.dup(ends[0]), made.stdout, terminal=True)
            await made._write(ends[0])
        else:
            made.stderr = asyncio.StreamReader()
            await made._read(ends[1], made.stdout)
            await made._read(ends[2], made.stderr)
            if ends[0] >= 0:
                await made._write(ends[0])
        return made

    async def _read(self, fd: int, reader: asyncio.StreamReader, *, terminal: bool = False) -> None:
        loop = asyncio.get_running_loop()
        if terminal:  # at its end a terminal's read fails with EIO (pty(7)), which asyncio takes for a fault
            os.set_blocking(fd, False)
            loop.add_reader(fd, partial(_take_terminal, fd, reader))
            return
        file = os.fdopen(fd, "rb", buffering=0)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        self._open.append(transport)

    async def _write(self, fd: int) -> None:
        loop = asyncio.get_running_loop()
        file = os.fdopen(fd, "wb", buffering=0)
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, file)
        self._input = asyncio.StreamWriter(transport, protocol, None, loop)
        self._open.append(transport)

    async def write(self, data: bytes) -> None:
        if self._input and not self._input.is_closing():
            self._input.write(data)
            with suppress(ConnectionError):
                await self._input.drain()

    async def close(self) -> None:
        if self._input is None:
            return
        if self._terminal >= 0:
            await self.write(b"\x04")  # the end of input, as a terminal has it
        else:
            self._input.close()

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal >= 0:
            with suppress(OSError):
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def release(self) -> None:
        """Ends the command, if it still runs, and closes our ends."""
        if not self._ended.done():
            self._kill(signal.SIGKILL)
        for transport in self._open:
            transport.close()


def _take_terminal(fd: int, reader: asyncio.StreamReader) -> None:
    try:
        data = os.read(fd, _BLOCK)
    except BlockingIOError:
        return
    except OSError:
        data = b""
    if data:
        reader.feed_data(data)
        return
    asyncio.get_running_loop().remove_reader(fd)
    os.close(fd)
    reader.feed_eof()


class _Attached:
    """Implements :class:`emulator.serving.runtime.Process` for a built-in server: its output is its log."""

    def __init__(self, coming: AsyncIterator[LogLine]) -> None:
        self.stdout = asyncio.StreamReader()
        self.stderr: asyncio.StreamReader | None = asyncio.StreamReader()
        self._task = asyncio.ensure_future(self._copy(coming))

    async def _copy(self, coming: AsyncIterator[LogLine]) -> int:
        async for line in coming:
            self.stdout.feed_data(line.text)
        self.stdout.feed_eof()
        if self.stderr:
            self.stderr.feed_eof()
        return 0

    async def write(self, data: bytes) -> None:
        """Ignores the data: the built-in server reads no standard input."""

    async def close(self) -> None:
        """Ignores the end of input, which the built-in server does not read."""

    def resize(self, columns: int, rows: int) -> None:
        """Ignores the size: there is no terminal."""

    async def wait(self) -> int:
        return await asyncio.shield(self._task)

    def release(self) -> None:
        self._task.cancel()


# --- files of logs -----------------------------------------------------------------------------------------


async def _nothing() -> AsyncIterator[LogLine]:
    """Yields nothing: a container that has ended logs no more."""
    lines: tuple[LogLine, ...] = ()
    for line in lines:
        yield line


def _identity(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _read(path: Path, at: int) -> tuple[list[LogLine], int]:
    """Returns the whole lines of a log behind byte ``at``, and where the next one begins."""
    try:
        with path.open("rb") as file:
            file.seek(at)
            data = file.read()
    except OSError:
        return [], at
    end = data.rfind(b"\n") + 1
    rows = (line.partition(b" ") for line in data[:end].splitlines(keepends=True))
    return [LogLine(time.decode(), text) for time, _, text in rows], at + end
