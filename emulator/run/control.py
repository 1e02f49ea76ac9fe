"""Carries requests of other terminals to the process of a running cluster, and its answers back.

The way is an abstract Unix socket ``podwire-control/<uid>/<pid>/<random>`` of the host's network namespace,
which no Pod reaches. It listens before there is a sandbox, and the process inside goes on with it. Both ends
ask the kernel who the other is (SO_PEERCRED, unix(7)) before they read anything, and talk to their own user
alone: messages are pickled. The cluster announces the socket's name (:mod:`emulator.run.announcement`).
"""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from .. import __version__
from ..errors import UsageError
from ..kernel.sandbox import SandboxDiedError, picklable
from .clusters import Running

_PREFIX = "podwire-control/"
_LENGTH = struct.Struct("!Q")
_MOST_REQUEST = 64 << 20  # bytes
_PATIENCE = 5.0  # seconds for a request to come in
_PAUSE = 0.1  # seconds after a failure to accept: descriptors are short

Answer = Callable[[object], AsyncGenerator[object, None]]


@dataclass(frozen=True, slots=True)
class Door:
    """Holds the socket at which a cluster is asked; ``name`` is its abstract name."""

    listener: socket.socket
    name: str


@dataclass(frozen=True, slots=True)
class _Refused:
    error: BaseException


@contextmanager
def door() -> Iterator[Door]:
    """Yields a door in the network namespace of the caller, which is the host's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as listener:
        name = f"{_PREFIX}{os.geteuid()}/{os.getpid()}/{os.urandom(8).hex()}"
        listener.bind(f"\0{name}")
        listener.listen(16)
        listener.setblocking(False)
        yield Door(listener, name)


def is_own_name(name: str) -> bool:
    """Returns whether ``name`` is one that a cluster of this user may announce."""
    return bool(re.fullmatch(rf"{_PREFIX}{os.geteuid()}/\d+/\w+", name))


def _is_ours(sock: socket.socket) -> bool:
    """Returns whether the other end belongs to this user. In a user namespace the kernel shows the caller's
    own user as root, and every other one as the overflow user (user_namespaces(7)).
    """
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(uid == os.geteuid())


# --- the cluster's end ------------------------------------------------------------------------------------


@asynccontextmanager
async def answering(at: Door, answer: Answer) -> AsyncIterator[None]:
    """Answers what comes to the door as long as the context lasts: ``answer`` gets a request, and yields the
    messages that are sent back. It is closed when the caller goes.
    """
    tasks: set[asyncio.Task[None]] = set()
    accepting = asyncio.ensure_future(_accept(at.listener, answer, tasks))
    try:
        yield
    finally:
        for task in (accepting, *tasks):
            task.cancel()
        await asyncio.gather(accepting, *tasks, return_exceptions=True)


async def _accept(listener: socket.socket, answer: Answer, tasks: set[asyncio.Task[None]]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            connection, _ = await loop.sock_accept(listener)
        except OSError:
            await asyncio.sleep(_PAUSE)
            continue
        if not _is_ours(connection):
            connection.close()
            continue
        task = asyncio.ensure_future(_attend(connection, answer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _attend(connection: socket.socket, answer: Answer) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    try:
        request = await asyncio.wait_for(_read(reader), _PATIENCE)
        telling = asyncio.ensure_future(_tell(writer, answer(request)))
        gone = asyncio.ensure_future(reader.read(1))  # the caller sends nothing more: it is the end
        try:
            await asyncio.wait((telling, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, gone):
                task.cancel()
            await asyncio.gather(telling, gone, return_exceptions=True)
    except (OSError, EOFError, ValueError, asyncio.TimeoutError, pickle.UnpicklingError):
        pass  # it said nothing that is a request
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> object:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > _MOST_REQUEST:
        raise ValueError(length)
    return pickle.loads(await reader.readexactly(length))  # noqa: S301 - of this user alone


async def _tell(writer: asyncio.StreamWriter, messages: AsyncGenerator[object, None]) -> None:
    with suppress(ConnectionError):
        try:
            async with aclosing(messages):
                async for message in messages:
                    await _write(writer, message)
        except Exception as error:
            await _write(writer, _Refused(picklable(error)))


async def _write(writer: asyncio.StreamWriter, message: object) -> None:
    data = pickle.dumps(message)
    writer.write(_LENGTH.pack(len(data)) + data)
    await writer.drain()


# --- the caller's end -------------------------------------------------------------------------------------


def ask(running: Running, request: object) -> Iterator[object]:
    """Yields what the cluster ``running`` answers to ``request``. Raises what it refuses with, UsageError for
    a cluster that cannot be asked, SandboxDiedError if it ends before its answer does.
    """
    if running.release != __version__:
        raise UsageError(f"cluster {running} is of {running.note}: ask it with that one")
    if not is_own_name(running.control):
        raise UsageError(f"cluster {running} takes no requests yet: it is not ready, or ends by itself")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect(f"\0{running.control}")
        except OSError as error:
            raise UsageError(f"cannot ask cluster {running}: {error.strerror}") from None
        if not _is_ours(sock):
            raise UsageError(f"cannot ask cluster {running}: its socket belongs to another user")
        data = pickle.dumps(request)
        with sock.makefile("rb") as answers:
            sock.sendall(_LENGTH.pack(len(data)) + data)
            while (message := _receive(answers)) is not None:
                if isinstance(message, _Refused):
                    raise message.error
                yield message


def _receive(answers: BinaryIO) -> object:
    """Returns the next message; None at the end."""
    try:
        head = answers.read(_LENGTH.size)
        body = answers.read(_LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""
    except ConnectionError:
        head = body = b""
    if not head:
        return None
    try:
        message: object = pickle.loads(body)  # noqa: S301 - of this user alone
    except (EOFError, pickle.UnpicklingError):
        raise SandboxDiedError("the cluster has ended in the middle of its answer") from None
    return message
