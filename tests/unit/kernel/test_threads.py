"""Tests threads that cannot be started: a sentence, or the work without them."""

from __future__ import annotations

import _thread
import socket
import threading
import time

import pytest

from emulator.kernel import threads
from emulator.kernel.limits import LimitError, explain
from emulator.kernel.threads import Thread, for_each
from emulator.traffic.chatter import Chatter


def refuse(*_: object) -> int:
    raise RuntimeError("can't start new thread")


def end_at_once(*_: object) -> int:
    """Behaves like a thread that has no memory for its first frame."""
    return 1


def test_a_thread_runs_and_is_waited_for() -> None:
    done: list[int] = []
    thread = Thread(lambda: (time.sleep(0.05), done.append(threading.get_ident())))
    thread.start()
    thread.join()
    assert done
    assert done != [threading.get_ident()]


@pytest.mark.parametrize("how", [refuse, end_at_once])
def test_udp_clients_that_cannot_go_on_name_the_limit(how: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_PATIENCE", 0.1)
    monkeypatch.setattr(_thread, "start_new_thread", how)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        with pytest.raises(RuntimeError) as raised, Chatter([sock]):
            pass
    explained = explain(raised.value)
    assert isinstance(explained, LimitError)
    assert str(explained).startswith("no more threads can be started, and podwire needs some 80: ")
    assert "kernel.threads-max is " in str(explained)


@pytest.mark.parametrize("how", [refuse, end_at_once])
def test_nobody_waits_for_a_thread_that_did_not_start(how: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends a run at a low limit of processes, which waited for ever for the thread that closes taps."""
    monkeypatch.setattr(threads, "_PATIENCE", 0.1)
    monkeypatch.setattr(_thread, "start_new_thread", how)
    thread = Thread(list)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        thread.start()
    thread.join()


@pytest.mark.parametrize("most", [1, 3, 100])
def test_each_value_has_its_turn(most: int) -> None:
    seen: list[int] = []
    for_each(range(50), seen.append, most)
    assert sorted(seen) == [*range(50)]


@pytest.mark.parametrize("started", [0, 2])
def test_the_threads_that_can_be_started_do_the_work(started: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [None] * started
    start = threading.Thread.start

    def start_some(thread: threading.Thread) -> None:
        if not left:
            refuse()
        left.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    seen: list[int] = []
    for_each(range(50), seen.append, 8)
    assert sorted(seen) == [*range(50)]


def test_what_a_call_raises_is_raised_when_all_have_ended() -> None:
    running = 0

    def call(value: int) -> None:
        nonlocal running
        running += 1
        time.sleep(0.05 if value else 0)
        running -= 1
        if not value:
            raise KeyError(value)

    with pytest.raises(KeyError):
        for_each(range(20), call, 4)
    assert running == 0
