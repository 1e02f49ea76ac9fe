"""Tests steady sending over loopback: the rate, endings, and kept connections."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from emulator.model.flows import Attempt, Flow
from emulator.model.frames import Answer
from emulator.net import Endpoint
from emulator.objects.config import FlowProtocol
from emulator.traffic.steady import SteadySender
from emulator.workload.answer import reply_line
from tests.unit.states import make_flow, make_state

ANSWER = Answer(
    pod="default/a", container="c", node="n", client=Endpoint.parse("127.0.0.1:1"), dialled=None, image="a:1"
)


def flow_to(port: int, protocol: FlowProtocol = "TCP") -> Flow:
    return make_flow(make_state(), "worker-1", "127.0.0.1", port, protocol=protocol)


@contextmanager
def server(answer: Callable[[socket.socket, int], None], kind: int = socket.SOCK_STREAM) -> Iterator[int]:
    """Yields the port of a server whose connections ``answer`` serves, each with its number."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            sock.listen(64)

        def serve() -> None:
            number = 0
            while True:
                try:
                    connection = sock.accept()[0] if kind == socket.SOCK_STREAM else sock
                    answer(connection, number)
                except OSError:
                    return
                number += 1

        threading.Thread(target=serve, daemon=True).start()
        yield sock.getsockname()[1]
        sock.shutdown(socket.SHUT_RDWR) if kind == socket.SOCK_STREAM else sock.close()


def echo(connection: socket.socket, _: int) -> None:
    """Answers each line of one connection in a thread of its own."""

    def talk() -> None:
        with connection, suppress(ConnectionResetError):
            while data := connection.recv(100):
                connection.sendall(reply_line(data, ANSWER))

    threading.Thread(target=talk, daemon=True).start()


def sent(
    flow: Flow, seconds: float, *, rate: float = 50, timeout: float = 0.3, keep: bool = False
) -> list[Attempt]:
    """Returns the requests of so many seconds."""
    ended: list[Attempt] = []
    sender = SteadySender(
        [flow],
        lambda _, family, kind: socket.socket(family, kind),
        ended.append,
        rate=rate,
        timeout=timeout,
        keep=keep,
        seed=1,
    )
    end = time.monotonic() + seconds
    sender.run(lambda: time.monotonic() >= end)
    return ended


def test_requests_go_at_the_rate_and_say_who_answered() -> None:
    with server(echo) as port:
        ended = sent(flow_to(port), 0.5)
    assert 5 <= len(ended) <= 26
    assert {(one.error, one.answer and one.answer.pod) for one in ended} == {("", "default/a")}
    assert len({one.src for one in ended}) == len(ended)


def test_a_kept_connection_carries_all_until_it_breaks() -> None:
    def break_first(connection: socket.socket, number: int) -> None:
        if number == 0:
            for _ in range(3):
                connection.sendall(reply_line(connection.recv(100), ANSWER))
            connection.recv(100)
            connection.close()
        else:
            echo(connection, number)

    with server(break_first) as port:
        ended = sent(flow_to(port), 0.4, keep=True)
    assert [one.error for one in ended[:5]] == ["", "", "", "EOF", ""]
    assert len({one.src for one in ended}) == 2
    assert [one.continued for one in ended[:5]] == [False, True, True, True, False]
    assert all(one.token for one in ended if one.continued)


def test_a_connection_that_ends_while_idle_is_not_a_lost_request() -> None:
    def once(connection: socket.socket, _: int) -> None:
        connection.sendall(reply_line(connection.recv(100), ANSWER))
        connection.close()

    with server(once) as port:
        ended = sent(flow_to(port), 1, keep=True, rate=8, timeout=5)
    assert len(ended) > 3
    assert {one.error for one in ended} == {""}


def test_nothing_listens_and_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        late = sent(flow_to(port), 0.2)
    assert {one.error for one in late} == {"timeout"}
    assert all(0.25 <= (one.finished - one.started) / 1e9 < 2 for one in late)
    assert {one.error for one in sent(flow_to(port), 0.2)} == {"ECONNREFUSED"}


@pytest.mark.parametrize("keep", [False, True])
def test_datagrams_are_matched_by_their_cookies(keep: bool) -> None:
    def answer(sock: socket.socket, number: int) -> None:
        data, client = sock.recvfrom(100)
        if number % 2:
            sock.sendto(reply_line(data, ANSWER), client)

    with server(answer, socket.SOCK_DGRAM) as port:
        ended = sent(flow_to(port, "UDP"), 0.3, keep=keep)
    assert {one.error for one in ended} == {"", "timeout"}
    assert abs(sum(not one.error for one in ended) - len(ended) / 2) <= 1
    assert len({one.src for one in ended}) == (1 if keep else len(ended))
    assert all(one.token for one in ended)
