"""Carries exec, attach and port-forward over WebSockets, as kubelets do.

exec and attach: the first byte of a message is its channel (k8s.io/streaming, remotecommand): 0 standard
input, 1 output, 2 errors, 3 how it ended (a Status), 4 the terminal's size; with version 5, 255 closes the
channel that follows. port-forward: channels 2i and 2i + 1 for the i-th port (Python's client), or SPDY/3.1
inside the messages (kubectl, KEP-4006).
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

from aiohttp import WSMsgType, web

from .runtime import Process, Runtime, RuntimeRefusedError
from .spdy import Connection, Data, GoAway, Opened, Ping, Reset, SpdyError

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
STDIN, STDOUT, STDERR, ENDED, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
MOST_PORTS = 64  # in one request
MOST_STREAMS = 512  # open at once in one tunnel
_AT_ONCE = 32 * 1024  # bytes of a read
_LONGEST_MESSAGE = 4 * 1024 * 1024
_HEARTBEAT = 30.0  # seconds: finds clients that have gone without a word
Pod: TypeAlias = Mapping[str, Any]
_Start: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


@asynccontextmanager
async def _tasks() -> AsyncIterator[_Start]:
    """Yields a function that starts a task; all that still run at the end are ended."""
    running: set[asyncio.Task[None]] = set()

    def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        running.add(task)
        task.add_done_callback(running.discard)
        return task

    try:
        yield start
    finally:
        left = [*running]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


# --- exec and attach --------------------------------------------------------------------------------------


async def run_process(
    request: web.Request, start: Callable[[], Awaitable[Process]], *, stdin: bool, stdout: bool, stderr: bool
) -> web.WebSocketResponse:
    """Joins the process that ``start`` starts to the client, until either ends."""
    socket = await _upgraded(request, (V5, V4))
    try:
        process = await start()
    except RuntimeRefusedError as refused:
        await _send(socket, ENDED, _status(refused))
        await socket.close()
        return socket
    try:
        await _join(socket, process, stdin=stdin, stdout=stdout, stderr=stderr)
    finally:
        process.release()
        await socket.close()
    return socket


async def _join(
    socket: web.WebSocketResponse, process: Process, *, stdin: bool, stdout: bool, stderr: bool
) -> None:
    async with _tasks() as start:
        reading = start(_read_client(socket, process, stdin=stdin))
        outputs = [
            start(_copy(socket, channel, stream, wanted))
            for channel, stream, wanted in (
                (STDOUT, process.stdout, stdout),
                (STDERR, process.stderr, stderr),
            )
            if stream is not None
        ]
        ending = start(_await_end(socket, process, outputs))
        await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)


async def _await_end(
    socket: web.WebSocketResponse, process: Process, outputs: Sequence[asyncio.Task[None]]
) -> None:
    code = await process.wait()
    # a child that the command left behind may hold its output open: then what has come is all
    if outputs:
        await asyncio.wait(outputs, timeout=1.0)
    await _send(socket, ENDED, _exit_status(code))


async def _read_client(socket: web.WebSocketResponse, process: Process, *, stdin: bool) -> None:
    async for message in socket:
        if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
            continue
        data = message.data.encode() if message.type is WSMsgType.TEXT else message.data
        channel, data = (data[0], data[1:]) if data else (None, b"")
        if channel == STDIN and stdin:
            with suppress(OSError):  # it reads no more
                await process.write(data)
        elif channel == RESIZE:
            _resize(process, data)
        elif channel == CLOSE and data[:1] == bytes([STDIN]) and socket.ws_protocol == V5:
            with suppress(OSError):
                await process.close()


def _resize(process: Process, data: bytes) -> None:
    with suppress(ValueError, KeyError, TypeError, AttributeError):  # a size that is none is no size
        size = json.loads(data)
        columns, rows = int(size["Width"]), int(size["Height"])
        if 0 < columns < 65536 and 0 < rows < 65536:
            process.resize(columns, rows)


async def _copy(
    socket: web.WebSocketResponse, channel: int, stream: asyncio.StreamReader, wanted: bool
) -> None:
    """Sends a stream to the client; what is not wanted is read all the same, or the process would wait."""
    with suppress(ConnectionError):
        while data := await stream.read(_AT_ONCE):
            if wanted:
                await _send(socket, channel, data)


async def _upgraded(request: web.Request, protocols: Sequence[str]) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(
        protocols=protocols, max_msg_size=_LONGEST_MESSAGE, heartbeat=_HEARTBEAT, compress=False
    )
    await socket.prepare(request)
    return socket


async def _send(socket: web.WebSocketResponse, channel: int, data: bytes) -> None:
    with suppress(ConnectionError):
        await socket.send_bytes(bytes([channel]) + data)


def _exit_status(code: int) -> bytes:
    """Returns how a command ended as the client reads it (remotecommand's v4 status)."""
    if code == 0:
        return b'{"metadata":{},"status":"Success"}'
    status = {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
    return json.dumps(status).encode()


def _status(refused: RuntimeRefusedError) -> bytes:
    status = {
        "metadata": {},
        "status": "Failure",
        "message": str(refused),
        "reason": "NotFound" if refused.code == 404 else "InternalError",
        "code": refused.code,
    }
    return json.dumps(status).encode()


# --- port-forward -----------------------------------------------------------------------------------------


async def forward_ports(
    request: web.Request, runtime: Runtime, pod: Pod, ports: Sequence[int]
) -> web.WebSocketResponse:
    """Joins the client's streams to connections into the Pod. ``ports``: those that the request names, which
    a tunnel has no need of.
    """
    socket = await _upgraded(request, (TUNNEL, V4))
    try:
        if socket.ws_protocol == TUNNEL:
            await _Tunnel(socket, runtime, pod).run()
        else:
            await _forward_channels(socket, runtime, pod, ports)
    finally:
        await socket.close()
    return socket


def _unreachable(pod: Pod, port: int, error: Exception) -> bytes:
    """Returns what a client prints when nobody listens in the Pod, as kubelet words it."""
    name = pod.get("metadata", {}).get("name")
    return f"error forwarding port {port} to pod {name}: {error}".encode()


async def _forward_channels(
    socket: web.WebSocketResponse, runtime: Runtime, pod: Pod, ports: Sequence[int]
) -> None:
    writers: dict[int, asyncio.StreamWriter] = {}
    for index, port in enumerate(ports):
        for channel in (2 * index, 2 * index + 1):
            await _send(socket, channel, struct.pack("<H", port))
    try:
        async with _tasks() as start:
            for index, port in enumerate(ports):
                try:
                    reader, writers[2 * index] = await runtime.connect(pod, port)
                except (OSError, RuntimeRefusedError) as error:
                    await _send(socket, 2 * index + 1, _unreachable(pod, port, error))
                else:
                    start(_copy(socket, 2 * index, reader, True))
            async for message in socket:
                if message.type is WSMsgType.BINARY and message.data:
                    writer = writers.get(message.data[0])
                    if writer is not None:
                        writer.write(message.data[1:])
                        with suppress(ConnectionError):
                            await writer.drain()
    finally:
        for writer in writers.values():
            writer.close()


class _Tunnel:
    """Serves SPDY/3.1 inside one WebSocket. For each connection the client opens an error stream and a data
    stream of the same requestID (k8s.io/kubernetes, pkg/kubelet, portforward/httpstream.go).
    """

    def __init__(self, socket: web.WebSocketResponse, runtime: Runtime, pod: Pod) -> None:
        self._socket, self._runtime, self._pod = socket, runtime, pod
        self._spdy = Connection()
        self._errors: dict[str, int] = {}  # the error stream, by requestID
        self._inputs: dict[int, asyncio.Queue[bytes | None]] = {}  # by data stream; None: no more comes
        self._work: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        async with _tasks() as start:
            async for message in self._socket:
                if message.type is not WSMsgType.BINARY:
                    continue
                try:
                    for frame in self._spdy.receive(message.data):
                        if isinstance(frame, GoAway):
                            return
                        await self._act(frame, start)
                except SpdyError:
                    return

    async def _act(self, frame: Opened | Data | Reset | Ping, start: _Start) -> None:
        if isinstance(frame, Ping):
            await self._write(self._spdy.pong(frame))
        elif isinstance(frame, Opened):
            await self._open(frame, start)
        elif isinstance(frame, Data):
            queue = self._inputs.get(frame.stream)
            if queue is not None:
                if frame.data:
                    await queue.put(frame.data)
                if frame.fin:
                    await queue.put(None)
        elif frame.stream in self._work:
            self._work[frame.stream].cancel()

    async def _open(self, frame: Opened, start: _Start) -> None:
        kind, port = frame.headers.get("streamtype"), frame.headers.get("port", "")
        request = frame.headers.get("requestid", port)
        known = port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536
        many = len(self._errors) + len(self._inputs) >= MOST_STREAMS
        if kind not in ("error", "data") or not known or many or frame.stream in self._inputs:
            await self._write(self._spdy.reset(frame.stream))
            return
        await self._write(self._spdy.reply(frame.stream))
        if kind == "error":
            self._errors[request] = frame.stream
            return
        self._inputs[frame.stream] = asyncio.Queue(64)
        if frame.fin:
            self._inputs[frame.stream].put_nowait(None)
        self._work[frame.stream] = start(self._forward(frame.stream, request, int(port)))

    async def _forward(self, stream: int, request: str, port: int) -> None:
        """Carries one connection; its end ends both streams."""
        trouble = b""
        try:
            reader, writer = await self._runtime.connect(self._pod, port)
        except (OSError, RuntimeRefusedError) as error:
            trouble = _unreachable(self._pod, port, error)
        else:
            try:
                async with _tasks() as start:
                    start(self._feed(stream, writer))
                    with suppress(ConnectionError):
                        while data := await reader.read(_AT_ONCE):
                            await self._write(self._spdy.data(stream, data))
            finally:
                writer.close()
        finally:
            queue = self._inputs.pop(stream)
            while not queue.empty():  # whoever waits for room in it goes on
                queue.get_nowait()
            self._work.pop(stream, None)
            error_stream = self._errors.pop(request, None)
        await self._write(self._spdy.data(stream, b"", fin=True))
        if error_stream is not None:
            await self._write(self._spdy.data(error_stream, trouble, fin=True))

    async def _feed(self, stream: int, writer: asyncio.StreamWriter) -> None:
        queue = self._inputs[stream]
        with suppress(ConnectionError):
            while (data := await queue.get()) is not None:
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

    async def _write(self, frame: bytes) -> None:
        with suppress(ConnectionError):
            await self._socket.send_bytes(frame)
