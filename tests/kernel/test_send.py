"""Tests sending from inside namespaces: the errors of sockets, and the wait for silence."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from emulator.capture.recording import Recording
from emulator.capture.ring import Taps
from emulator.kernel.apply import apply
from emulator.model.flows import Client, Destination, Flow
from emulator.net import Address, host_prefix
from emulator.plan.operations import AddNetns, AddRoute, Plan
from emulator.traffic import send
from emulator.traffic.silence import SILENCE
from tests.sandboxed import in_sandbox

pytestmark = pytest.mark.kernel

NOBODY = "192.0.2.1"  # its route leads into the loopback, and nobody there has it


def test_what_is_begun_after_silence_has_a_silence_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(send, "_WINDOW", 1)  # one socket at a time
    client = Client(kind="pod", label="a", netns="a", ip=Address("127.0.0.1"))
    flow = Flow(
        name="f",
        kind="other",
        client=client,
        to=Destination(label="b", ip=Address(NOBODY), port=9),
        protocol="UDP",
        attempts=3,
    )
    plan = Plan(
        name="t",
        operations=(
            AddNetns(netns="a", why="t"),
            AddRoute(netns="a", dst=host_prefix(NOBODY), dev="lo", why="t"),
        ),
    )

    @in_sandbox
    def outcomes() -> list[tuple[str, float]]:
        prober = send.Prober(apply(plan).namespaces, Recording(Taps()), seed=0)
        return [(a.error, (a.finished - a.started) / 1e9) for a in prober.probe([flow], crafted=False)]

    attempts = outcomes()
    assert [error for error, _ in attempts] == ["timeout"] * 3
    assert all(seconds > 0.8 * SILENCE for _, seconds in attempts)


def test_a_client_whose_kernel_gives_up_first_has_met_silence() -> None:
    """Waits until the last SYN, as on a machine where the run gets no processor for minutes."""
    client = Client(kind="pod", label="a", netns="a", ip=Address("127.0.0.1"))
    flow = Flow(
        name="f",
        kind="other",
        client=client,
        to=Destination(label="b", ip=Address(NOBODY), port=9),
        protocol="TCP",
        attempts=1,
    )
    plan = Plan(
        name="t",
        operations=(
            AddNetns(netns="a", why="t"),
            AddRoute(netns="a", dst=host_prefix(NOBODY), dev="lo", why="t"),
        ),
    )

    @in_sandbox
    def outcome() -> tuple[str, float]:
        namespaces = apply(plan).namespaces
        retries = Path("/proc/sys/net/ipv4/tcp_syn_retries")
        namespaces.call_in("a", lambda: retries.write_text("1"))
        prober = send.Prober(namespaces, Recording(Taps()), seed=0, silence=60)
        (attempt,) = prober.probe([flow], crafted=False)
        return attempt.error, (attempt.finished - attempt.started) / 1e9

    error, seconds = outcome()
    assert error == "timeout"
    assert seconds < 50, "the kernel did not give up"


@pytest.mark.parametrize(
    ("relayed", "error"), [(("f",), ""), ((), "timeout")], ids=["a proxy takes part", "nobody does"]
)
def test_what_proxies_do_meanwhile_is_no_silence(relayed: tuple[str, ...], error: str) -> None:
    """Answers after a second, in which others send to each other all the time."""
    client = Client(kind="pod", label="a", netns="a", ip=Address("127.0.0.1"))
    flow = Flow(
        name="f",
        kind="other",
        client=client,
        to=Destination(label="b", ip=Address("127.0.0.1"), port=9),
        protocol="UDP",
        attempts=1,
    )

    def answer_late(server: socket.socket) -> None:
        request, asker = server.recvfrom(100)
        for _ in range(20):
            time.sleep(SILENCE / 10)
            server.sendto(b"busy", ("127.0.0.1", 9))
        server.sendto(request, asker)

    @in_sandbox
    def outcome() -> str:
        applied = apply(Plan(name="t", operations=(AddNetns(netns="a", why="t"),)))
        server = applied.namespaces.call_in("a", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        server.bind(("127.0.0.1", 9))
        taps = Taps()
        taps.open(applied.namespaces, {"a": applied.interfaces("a")}, applied.ports, {"a": 64})
        threading.Thread(target=answer_late, args=(server,), daemon=True).start()
        prober = send.Prober(applied.namespaces, Recording(taps), seed=0)
        (attempt,) = prober.probe([flow], crafted=False, relayed=relayed)
        taps.close()
        return attempt.error

    assert outcome() == error


def test_no_server_is_sent_more_datagrams_at_once_than_its_socket_holds() -> None:
    client = Client(kind="pod", label="a", netns="a", ip=Address("127.0.0.1"))
    flow = Flow(
        name="f",
        kind="other",
        client=client,
        to=Destination(label="b", ip=Address("127.0.0.1"), port=9),
        protocol="UDP",
        attempts=400,
    )

    def echo(server: socket.socket) -> None:
        time.sleep(send.SILENCE / 2)  # others have the processor
        while True:
            request, asker = server.recvfrom(100)
            server.sendto(request, asker)

    @in_sandbox
    def errors() -> set[str]:
        namespaces = apply(Plan(name="t", operations=(AddNetns(netns="a", why="t"),))).namespaces
        server = namespaces.call_in("a", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        server.bind(("127.0.0.1", 9))
        threading.Thread(target=echo, args=(server,), daemon=True).start()
        return {
            attempt.error
            for attempt in send.Prober(namespaces, send.Recording(Taps()), seed=0).probe(
                [flow], crafted=False
            )
        }

    assert errors() == {""}
