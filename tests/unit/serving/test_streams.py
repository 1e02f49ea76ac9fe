from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web

from emulator.serving.spdy import Connection, Data
from emulator.serving.streams import TUNNEL, V4, V5, forward_ports, run_process

from .runtimes import LocalRuntime
from .test_spdy import Client

POD = {"metadata": {"name": "p"}}


def run(
    handler: Callable[[web.Request, LocalRuntime], Awaitable[web.StreamResponse]],
    client: Callable[[ClientWebSocketResponse], Awaitable[Any]],
    *protocols: str,
) -> tuple[Any, LocalRuntime]:
    """Returns what ``client`` returns when it speaks to ``handler``."""

    async def both() -> Any:
        runtime = LocalRuntime()
        server = web.Server(lambda request: handler(request, runtime))
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with ClientSession() as session:
                url = "http://{}:{}/".format(*runner.addresses[0])
                async with session.ws_connect(url, protocols=protocols) as socket:
                    found = await asyncio.wait_for(client(socket), 20)
        finally:
            await runtime.end()
            await runner.cleanup()
        return found, runtime

    found: tuple[Any, LocalRuntime] = asyncio.run(both())
    return found


def command(*argv: str, tty: bool = False, stdin: bool = True) -> Any:
    async def handler(request: web.Request, runtime: LocalRuntime) -> web.StreamResponse:
        def start() -> Any:
            return runtime.exec(POD, "c", argv, tty=tty, stdin=stdin)

        return await run_process(request, start, stdin=stdin, stdout=True, stderr=not tty)

    return handler


async def everything(socket: ClientWebSocketResponse) -> dict[int, bytes]:
    """Returns what comes on each channel until the end."""
    found: dict[int, bytes] = {}
    async for message in socket:
        if message.type is WSMsgType.BINARY and len(message.data) > 1:
            found[message.data[0]] = found.get(message.data[0], b"") + message.data[1:]
    return found


def test_output_errors_and_exit_code_come_on_their_channels() -> None:
    found, _ = run(command("sh", "-c", "echo out; echo err >&2; exit 3", stdin=False), everything, V5)
    assert found[1] == b"out\n"
    assert found[2] == b"err\n"
    status = json.loads(found[3])
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


def test_success_is_said() -> None:
    found, _ = run(command("true"), everything, V4)
    assert json.loads(found[3])["status"] == "Success"


def test_signal_is_an_exit_code() -> None:
    found, _ = run(command("sh", "-c", "kill -9 $$"), everything, V5)
    assert json.loads(found[3])["details"]["causes"][0]["message"] == "137"


def test_input_is_written_and_ended() -> None:
    async def client(socket: ClientWebSocketResponse) -> dict[int, bytes]:
        for part in (b"hel", b"lo"):
            await socket.send_bytes(b"\0" + part)
        await socket.send_bytes(bytes([255, 0]))
        return await everything(socket)

    found, _ = run(command("cat"), client, V5)
    assert found[1] == b"hello"
    assert json.loads(found[3])["status"] == "Success"


def test_large_input_and_output_are_whole() -> None:
    sent = bytes(range(256)) * 8192  # 2 MiB

    async def client(socket: ClientWebSocketResponse) -> dict[int, bytes]:
        async def write() -> None:
            for at in range(0, len(sent), 32768):
                await socket.send_bytes(b"\0" + sent[at : at + 32768])
            await socket.send_bytes(bytes([255, 0]))

        writing = asyncio.create_task(write())
        found = await everything(socket)
        await writing
        return found

    found, _ = run(command("cat"), client, V5)
    assert found[1] == sent


def test_terminal_has_the_size_that_it_is_told() -> None:
    async def client(socket: ClientWebSocketResponse) -> dict[int, bytes]:
        await socket.send_bytes(b"\4" + json.dumps({"Width": 91, "Height": 17}).encode())
        await socket.send_bytes(b"\4not a size")
        await socket.send_bytes(b"\0go\n")
        return await everything(socket)

    found, _ = run(command("sh", "-c", "read word; stty size", tty=True), client, V5)
    assert b"17 91" in found[1]


def test_process_ends_when_its_client_goes() -> None:
    async def client(socket: ClientWebSocketResponse) -> None:
        await socket.send_bytes(b"\0x")
        await socket.close()

    _, runtime = run(command("sleep", "60"), client, V5)
    assert runtime.started[0].released


def test_command_that_is_not_there_is_told() -> None:
    found, _ = run(command("/no/such/command"), everything, V5)
    status = json.loads(found[3])
    assert status["status"] == "Failure"
    assert "/no/such/command" in status["message"]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data.upper())
    writer.close()


def forwarder(*ports: int) -> Any:
    async def handler(request: web.Request, runtime: LocalRuntime) -> web.StreamResponse:
        return await forward_ports(request, runtime, POD, ports)

    return handler


async def dead_port() -> int:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


def test_tunnel_carries_connections_side_by_side() -> None:
    async def client(socket: ClientWebSocketResponse) -> tuple[dict[int, bytes], dict[int, bytes]]:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = str(server.sockets[0].getsockname()[1])
        dead = str(await dead_port())
        writer, reader = Client(), Connection()
        data: dict[int, bytes] = {}
        ended: set[int] = set()
        for number, where in ((1, port), (5, port), (9, dead)):
            request = {"port": where, "requestID": str(number)}
            await socket.send_bytes(writer.open(number, {"streamType": "error", **request}, fin=True))
            await socket.send_bytes(writer.open(number + 2, {"streamType": "data", **request}))
        big = b"x" * 200_000
        await socket.send_bytes(reader.data(3, b"one", fin=True) + reader.data(7, big[:100_000]))
        await socket.send_bytes(reader.data(7, big[100_000:], fin=True))
        received = bytearray()
        while len(ended) < 6:
            received += await socket.receive_bytes()
            while len(received) >= 8:
                length = int.from_bytes(received[5:8], "big")
                if len(received) < 8 + length:
                    break
                frame = bytes(received[: 8 + length])
                del received[: 8 + length]
                if frame[0] & 0x80:
                    continue  # replies
                (one,) = Connection().receive(frame)
                assert isinstance(one, Data)
                data[one.stream] = data.get(one.stream, b"") + one.data
                if one.fin:
                    ended.add(one.stream)
        server.close()
        return data, {9: dead.encode()}

    (data, dead), _ = run(forwarder(), client, TUNNEL)
    assert data[3] == b"ONE"
    assert data[7] == b"X" * 200_000
    assert data[1] == data[5] == b""
    assert data[9].startswith(b"error forwarding port " + dead[9] + b" to pod p: ")
    assert data[11] == b""


def test_channels_carry_a_connection_each() -> None:
    ports: list[int] = []

    async def handler(request: web.Request, runtime: LocalRuntime) -> web.StreamResponse:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        ports.extend((server.sockets[0].getsockname()[1], await dead_port()))
        try:
            return await forward_ports(request, runtime, POD, ports)
        finally:
            server.close()

    async def client(socket: ClientWebSocketResponse) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        await socket.send_bytes(b"\0hello")
        while len(found.get(0, b"")) < 7 or len(found.get(3, b"")) < 3:
            message = await socket.receive_bytes()
            found[message[0]] = found.get(message[0], b"") + message[1:]
        return found

    found, _ = run(handler, client, V4)
    assert found[0] == struct.pack("<H", ports[0]) + b"HELLO"
    assert found[3].startswith(struct.pack("<H", ports[1]) + b"error forwarding port")


@pytest.mark.parametrize("sent", [b"", b"\0" * 64, b"\xff" * 64])
def test_tunnel_ends_on_what_is_no_spdy(sent: bytes) -> None:
    async def client(socket: ClientWebSocketResponse) -> bool:
        await socket.send_bytes(sent)
        await socket.send_bytes(b"\x80\x03\x00\x07\x00\x00\x00\x08" + bytes(8))  # GOAWAY
        while (await socket.receive()).type is not WSMsgType.CLOSE:
            pass
        return True

    assert run(forwarder(), client, TUNNEL)[0]
