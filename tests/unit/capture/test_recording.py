"""Tests the recording of a run: the kept parts of each frame, for how long, and up to how much."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether

from emulator.capture import recording as recording_module
from emulator.capture import spill as spill_module
from emulator.capture.recording import Recording
from emulator.capture.ring import InRing, Taps
from emulator.model.frames import REQUEST_MAGIC, Captured

SYN = bytes(Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=40000, dport=80, flags="S", seq=7))
DATA = bytes(
    Ether()
    / IP(src="10.0.0.1", dst="10.0.0.2")
    / TCP(sport=40000, dport=80, flags="PA", seq=8)
    / (b"x" * 100)
)
FIN = bytes(Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=40000, dport=80, flags="FA", seq=108))
REQUEST = bytes(
    Ether()
    / IP(src="10.0.0.1", dst="10.0.0.2")
    / UDP(sport=40000, dport=53)
    / (REQUEST_MAGIC + b"%016x\n" % 9)
)
NOISE = bytes(Ether() / IP(src="10.0.0.8", dst="10.0.0.9") / UDP(sport=1, dport=2) / (b"n" * 1000))
WHO_HAS = bytes(Ether() / ARP(pdst="10.0.0.2"))


class Rings(Taps):
    """Holds rings whose frames a test puts in."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Captured] = []
        self.dropped = 0

    def put(self, *rows: tuple[int, bytes], netns: str = "a") -> None:
        self.waiting += [Captured(time, netns, "eth0", time % 2 == 0, len(data), data) for time, data in rows]

    def read(self) -> Iterator[InRing]:
        waiting, self.waiting = self.waiting, []
        for time, netns, interface, outgoing, length, data, stray in waiting:
            padded = memoryview(bytearray(b"\xff" * 80 + data + b"\xff" * 20))
            yield time, netns, interface, outgoing, length, padded, 80, 80 + len(data), stray

    def lost(self) -> int:
        return self.dropped


@pytest.fixture
def rings() -> Rings:
    return Rings()


@pytest.fixture
def recording(rings: Rings) -> Iterator[Recording]:
    recording = Recording(rings)
    yield recording
    recording.close()


def stamps(captured: Sequence[Captured]) -> list[int]:
    return [frame.time for frame in captured]


def test_a_frames_number_is_its_place_in_order_of_time(rings: Rings, recording: Recording) -> None:
    rings.put((5, SYN), (9, FIN))
    recording.drain()
    rings.put((6, WHO_HAS), (7, DATA), netns="b")
    recording.finish()
    assert stamps(recording.capture) == [5, 6, 7, 9]
    assert [(frame.number, frame.time) for frame in recording.frames] == [(0, 5), (2, 7), (3, 9)], (
        "an ARP request is of no flow"
    )
    assert [frame.data for frame in recording.capture] == [SYN, WHO_HAS, DATA, FIN]
    assert [frame.netns for frame in recording.capture] == ["a", "b", "b", "a"]
    assert recording.capture[2] == Captured(7, "b", "eth0", False, len(DATA), DATA)


def test_the_numbers_of_a_judged_moment_stay(rings: Rings, recording: Recording) -> None:
    rings.put((5, SYN), (6, FIN))
    recording.finish()
    recording.begin_moment()
    assert recording.frames == []
    rings.put((8, FIN), (4, DATA), (7, SYN))
    recording.finish()
    assert stamps(recording.capture) == [5, 6, 4, 7, 8], "what came late of the first moment comes after it"
    assert [frame.number for frame in recording.frames] == [2, 3, 4]


def test_a_long_recording_lies_on_the_disk_and_reads_the_same(
    rings: Rings, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill_module, "_IN_MEMORY", 4096)
    frames = [(number, (SYN, DATA, REQUEST, NOISE)[number % 4]) for number in range(1000)]
    rings.put(*frames)
    recording.finish()
    spill = recording.capture._spill
    assert len(spill._tail) < 8192
    assert os.fstat(spill._file.fileno()).st_nlink == 0, "nothing is left when the process ends"  # type: ignore[union-attr]
    assert [(frame.time, frame.data) for frame in recording.capture] == frames
    assert recording.capture[3].data == NOISE
    assert recording.capture[999].data == NOISE


def test_of_moments_that_are_judged_nothing_stays_in_memory(
    rings: Rings, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spill_module, "_IN_MEMORY", 64)
    monkeypatch.setattr(spill_module, "_BLOCK", 1024)
    rows: list[tuple[int, bytes]] = []
    for moment in range(50):
        now = [(10 * moment + number, (SYN, DATA, NOISE, FIN)[number % 4]) for number in range(10)]
        rings.put(*now[5:])
        rings.put(*now[:5])
        recording.finish()
        assert [frame.number for frame in recording.frames] == [
            len(rows) + number for number in range(10) if now[number][1] != NOISE
        ]
        recording.begin_moment()
        rows += now
        assert len(recording.capture._offsets) == 0
        assert len(recording.capture._index._tail) <= 64 + 10 * 8
    assert len(recording.capture) == len(rows)
    assert [(frame.time, frame.data) for frame in recording.capture] == rows
    for number in (499, 0, 250, 249, 251, 3, -1):
        assert (recording.capture[number].time, recording.capture[number].data) == rows[number]
    with pytest.raises(IndexError):
        _ = recording.capture[500]


def test_a_recording_that_nobody_wants_keeps_no_frame(rings: Rings) -> None:
    recording = Recording(rings, keep=False)
    for first in (0, 10):
        rings.put((first + 2, DATA), (first, SYN), (first + 1, NOISE), (first + 3, FIN))
        recording.finish()
        assert [(frame.number, frame.time) for frame in recording.frames] == [
            (first // 10 * 4 + place, first + time) for place, time in ((0, 2), (1, 0), (3, 3))
        ], "they are numbered as they came"
        recording.begin_moment()
    assert (len(recording.capture), recording.capture._spill.size, recording.count) == (0, 0, 8)
    recording.close()


def test_a_disk_that_is_full_loses_frames_and_keeps_what_it_has(
    rings: Rings, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spill_module, "_IN_MEMORY", 4096)
    monkeypatch.setattr(os, "pwrite", full)
    rings.put(*((number, NOISE) for number in range(10)))
    recording.finish()
    assert recording.lost() == 10 - len(recording.capture) > 0
    assert [frame.data for frame in recording.capture] == [NOISE] * len(recording.capture)
    assert len(recording.frames) == 0
    monkeypatch.setattr(spill_module, "_IN_MEMORY", 0)
    kept = len(recording.capture)
    recording.begin_moment()
    recording.begin_moment()
    assert [frame.data for frame in recording.capture] == [NOISE] * kept


def test_what_no_flow_sent_fills_its_own_share_alone(
    rings: Rings, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_module, "MOST_OTHER_BYTES", 5000)
    rings.put(*((number, NOISE) for number in range(20)), (20, REQUEST), (21, SYN))
    recording.finish()
    assert recording.left_out == 16
    assert recording.lost() == 0, "no verdict rests on it"
    assert [frame.token != 0 for frame in recording.frames] == [True, True]
    assert recording.count == 22


def test_a_full_recording_loses_what_comes(
    rings: Rings, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_module, "MOST_BYTES", 500)
    rings.put(*((number, SYN) for number in range(20)))
    recording.finish()
    assert 0 < len(recording.capture) < 20
    assert recording.lost() == 20 - len(recording.capture)
    assert [frame.number for frame in recording.frames] == list(range(len(recording.capture)))


def test_of_very_many_frames_those_that_carry_on_are_not_kept_decoded(
    rings: Rings, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_module, "_MANY_FRAMES", 3)
    rings.put((0, SYN), (1, DATA), (2, DATA), (3, DATA), (4, REQUEST), (5, FIN))
    recording.finish()
    assert [frame.number for frame in recording.frames] == [0, 1, 2, 4, 5]
    assert len(recording.capture) == 6


def test_frames_that_were_lost_in_one_moment_are_no_loss_in_the_next(
    rings: Rings, recording: Recording
) -> None:
    rings.dropped = 3
    assert (recording.lost(), recording.lost_now()) == (3, 3)
    recording.begin_moment()
    assert (recording.lost(), recording.lost_now()) == (3, 0)
    rings.dropped = 4
    assert recording.lost_now() == 1
