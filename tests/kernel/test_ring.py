"""Tests the taps of a run: they are closed, whatever came between."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

import pytest

from emulator.capture import ring
from emulator.capture.decode import decode_frames
from emulator.capture.ring import WITHOUT_BARE_SEGMENTS, Taps
from emulator.kernel.apply import apply
from emulator.kernel.netns import Namespaces
from emulator.model.frames import Frame
from emulator.plan.operations import AddNetns, Plan
from tests.sandboxed import in_sandbox

pytestmark = pytest.mark.kernel


@in_sandbox
def test_who_is_interrupted_while_they_are_opened_can_close_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupts it when one of two taps is set up, since Ctrl-C comes at any time."""
    set_up = ring._Tap.set_up

    def interrupted(tap: ring._Tap) -> None:
        if tap.name == "b":
            raise KeyboardInterrupt
        set_up(tap)

    monkeypatch.setattr(ring._Tap, "set_up", interrupted)
    namespaces = apply(
        Plan(name="t", operations=tuple(AddNetns(netns=name, why="t") for name in "ab"))
    ).namespaces
    taps = Taps()
    with pytest.raises(KeyboardInterrupt):
        taps.open(namespaces, {}, {}, {"a": 64, "b": 64})
    taps.close()


@in_sandbox
def test_a_tap_holds_one_descriptor_and_all_together_one_more() -> None:
    """Limits descriptors: a cluster of 5,000 Pods has two of each, its namespace and its tap. All taps share
    an epoll.
    """
    namespaces = apply(
        Plan(name="t", operations=tuple(AddNetns(netns=f"n{number}", why="t") for number in range(20)))
    ).namespaces
    before = len(os.listdir("/proc/self/fd"))
    taps = Taps()
    taps.open(namespaces, {}, {}, dict.fromkeys(namespaces, 64), width=512)
    held = len(os.listdir("/proc/self/fd")) - before
    mapped = Path("/proc/self/maps").read_text().count("packet") + Path("/proc/self/maps").read_text().count(
        "socket:"
    )
    taps.close()
    assert held == 20 + 1
    assert mapped >= 20
    assert len(os.listdir("/proc/self/fd")) == before
    assert "socket:" not in Path("/proc/self/maps").read_text()


@in_sandbox
def test_a_ring_that_went_round_many_times_has_delivered_everything_in_order() -> None:
    namespaces = apply(Plan(name="t", operations=(AddNetns(netns="a", why="t"),))).namespaces
    taps = Taps()
    taps.open(namespaces, {"a": {1: "lo"}}, {}, {"a": 8}, width=512)
    client = namespaces.call_in("a", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    server = namespaces.call_in("a", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    server.bind(("127.0.0.1", 9))
    seen = []
    for number in range(50):
        client.sendto(b"%03d" % number, ("127.0.0.1", 9))
        seen += [frame.data[-3:] for frame in taps.drain() if frame.outgoing]
    assert seen == [b"%03d" % number for number in range(50)]
    assert taps.lost() == 0
    for _ in range(40):
        client.sendto(b"too many", ("127.0.0.1", 9))
    assert taps.lost() > 0
    taps.close()


@in_sandbox
def test_who_never_stops_sending_holds_nobody_who_reads() -> None:
    namespaces = apply(Plan(name="t", operations=(AddNetns(netns="a", why="t"),))).namespaces
    taps = Taps()
    taps.open(namespaces, {"a": {1: "lo"}}, {}, {"a": 8}, width=512)
    client = namespaces.call_in("a", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    client.sendto(b"first", ("127.0.0.1", 9))
    seen = 0
    for *_, _ in taps.read():
        seen += 1
        client.sendto(b"more", ("127.0.0.1", 9))
        assert seen < 100
    assert seen == 8
    assert taps.drain(), "a ring that was read in part stays ready"
    assert taps.drain() == []
    taps.close()


def _say(namespaces: Namespaces, name: str, word: bytes) -> None:
    """Sends ``word`` from the namespace ``name`` to its own address, where nobody listens."""
    with namespaces.call_in(name, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.sendto(word, ("127.0.0.1", 9))


@in_sandbox
def test_every_ring_that_holds_frames_is_read_however_many_they_are() -> None:
    """Asks for fewer events than there are: epoll_wait(2) returns no more, and a namespace may come after
    others have spoken.
    """
    names = [f"n{number:02}" for number in range(40)]
    namespaces = apply(
        Plan(name="t", operations=tuple(AddNetns(netns=name, why="t") for name in names))
    ).namespaces
    taps = Taps()
    assert taps.drain() == []
    taps.open(namespaces, {}, {}, dict.fromkeys(names[:20], 64), width=512)
    _say(namespaces, "n03", b"early")
    taps.open(namespaces, {}, {}, dict.fromkeys(names[20:], 64), width=512)
    for name in names[::-1]:
        _say(namespaces, name, name.encode())
    said = [(frame.netns, frame.data) for frame in taps.drain() if frame.outgoing]
    for name in names:
        words = [data[42:] for netns, data in said if netns == name and data[23] == socket.IPPROTO_UDP]
        assert words == ([b"early", b"n03"] if name == "n03" else [name.encode()])
    assert taps.drain() == []
    assert taps.lost() == 0
    taps.close()


@in_sandbox
def test_taps_that_are_closed_are_not_read_though_a_forked_process_holds_their_sockets() -> None:
    namespaces = apply(
        Plan(name="t", operations=tuple(AddNetns(netns=name, why="t") for name in "ab"))
    ).namespaces
    taps = Taps()
    taps.open(namespaces, {}, {}, dict.fromkeys("ab", 64), width=512)
    held = [os.dup(tap.socket.fileno()) for tap in taps._taps]  # as fork(2) does
    _say(namespaces, "a", b"unread")
    taps.close_in("a")
    _say(namespaces, "a", b"nobody listens")
    _say(namespaces, "b", b"heard")
    assert {frame.netns for frame in taps.drain()} == {"b"}
    taps.close_in("b")
    _say(namespaces, "b", b"nobody listens")
    assert taps.drain() == []
    taps.open(namespaces, {}, {}, {"a": 64}, width=512)
    _say(namespaces, "a", b"again")
    assert {frame.netns for frame in taps.drain()} == {"a"}
    taps.close()
    for descriptor in held:
        os.close(descriptor)


@in_sandbox
def test_without_bare_segments_is_all_that_a_verdict_needs() -> None:
    """Sends on a connection that leaves at once, one that talks and is reset, one that ends in order, a
    refused one, and a datagram. A tap with the program misses nothing but bare segments.
    """
    namespaces = apply(Plan(name="t", operations=(AddNetns(netns="a", why="t"),))).namespaces
    everything, telling = Taps(), Taps()
    everything.open(namespaces, {"a": {1: "lo"}}, {}, {"a": 512}, width=512)
    telling.open(namespaces, {"a": {1: "lo"}}, {}, {"a": 512}, width=512, program=WITHOUT_BARE_SEGMENTS)
    server = namespaces.call_in("a", lambda: socket.create_server(("127.0.0.1", 80)))
    for data, abort in ((b"", True), (b"a request", True), (b"a request", False)):
        client = namespaces.call_in("a", lambda: socket.create_connection(("127.0.0.1", 80)))
        accepted, _ = server.accept()
        if data:
            client.sendall(data)
            assert accepted.recv(64) == data
        if abort:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        accepted.close()
    with pytest.raises(ConnectionRefusedError):
        namespaces.call_in("a", lambda: socket.create_connection(("127.0.0.1", 81)))
    namespaces.call_in("a", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).sendto(
        b"", ("127.0.0.1", 9)
    )
    seen, told = decode_frames(everything.drain()), decode_frames(telling.drain())
    everything.close()
    telling.close()
    bare = [
        f for f in seen if f.protocol == "TCP" and not f.token and not {*"SF"} & {*f.flags} and f.length < 70
    ]
    assert {frame.flags for frame in bare} >= {"A", "RA"} or {frame.flags for frame in bare} >= {"A", "R"}
    assert [_what(f) for f in told] == [_what(f) for f in seen if f not in bare]
    assert {"S", "SA", "PA", "FA"} <= {frame.flags for frame in told}
    assert {frame.protocol for frame in told} == {"TCP", "UDP", "ICMP error"}


def _what(frame: Frame) -> tuple[str, bool, str, int, int, str, int, int]:
    return (
        frame.protocol,
        frame.outgoing,
        frame.src,
        frame.sport,
        frame.dport,
        frame.flags,
        frame.token,
        frame.length,
    )
