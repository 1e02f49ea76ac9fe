"""Captures the frames of a running cluster as they come, into a pcapng file or as lines of text.

The taps are those of a run (:mod:`emulator.capture.ring`), in this process: it enters the network namespaces
of the cluster, and holds nothing else of it. It ends when the reader of its output does, after Ctrl-C, after
so many frames, and with the cluster.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial

from ..capture.decode import decode_frame
from ..capture.ring import BpfProgram, Taps
from ..errors import MissingCapabilityError, UsageError
from ..kernel.netns import Entered
from ..kernel.signals import ENDING, Interrupted, heeded, waking
from ..model.frames import Captured
from ..report.frame_line import frame_line
from ..report.layout import Screen
from ..report.output import complain
from ..report.pcapng import Section
from .clusters import Running
from .naming import Member, resolve

SLOTS = 4096  # frames that one ring holds
WIDTH = 2048  # bytes of a slot: longer frames are cut
# the header of a pcap file without frames (pcap-savefile(5)): little-endian, 2.4, Ethernet
_EMPTY_PCAP = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)


@dataclass(frozen=True, slots=True, order=True)
class TapPlace:
    """Names what is captured: an interface, or all of them (""), of a network namespace."""

    netns: str
    interface: str = ""


def find_places(
    text: str, names: Mapping[str, str], members: Sequence[Member], topology: str, namespace: str
) -> list[TapPlace]:
    """Returns the places of ``text``: NAME or NAME/INTERFACE, several with commas. NAME is one that ``exec``
    takes, or a namespace as capture files name it (``default_client-a``). Raises UsageError.
    """
    return list(
        dict.fromkeys(_place(one, names, members, topology, namespace) for one in text.split(",") if one)
    )


def _place(
    text: str, names: Mapping[str, str], members: Sequence[Member], topology: str, namespace: str
) -> TapPlace:
    find = partial(_netns, names=names, members=members, topology=topology, namespace=namespace)
    name, slash, interface = text.rpartition("/")
    try:
        return TapPlace(find(text))
    except UsageError:
        if not slash:
            raise
    return TapPlace(find(name), interface)


def _netns(
    name: str, names: Mapping[str, str], members: Sequence[Member], topology: str, namespace: str
) -> str:
    if name in names.values():
        return name
    return names[resolve(name, names, members, topology, namespace)]


def compile_filter(expression: str) -> BpfProgram:
    """Returns the program of a filter in the language of pcap-filter(7); tcpdump compiles it. Raises
    UsageError with what tcpdump says.
    """
    if shutil.which("tcpdump") is None:
        raise MissingCapabilityError("tcpdump, which compiles filters", "sudo apt-get install tcpdump")
    done = subprocess.run(
        ["tcpdump", "-ddd", "-r", "-", "--", expression], input=_EMPTY_PCAP, capture_output=True, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UsageError(f"filter {expression!r}: {said[-1] if said else 'tcpdump cannot compile it'}")
    rows = [tuple(map(int, line.split())) for line in done.stdout.decode().splitlines()[1:]]
    return [(code, jt, jf, k) for code, jt, jf, k in rows]


def capture(
    running: Running,
    places: Sequence[TapPlace],
    program: BpfProgram | None,
    out: int,
    *,
    text: bool,
    most: int,
) -> int:
    """Writes the frames at ``places`` to the descriptor ``out``, as lines if ``text``, until something ends
    it; at most ``most`` of them (0: no limit). Returns the exit code.
    """
    try:
        entered = Entered(running.init, {place.netns for place in places})
        ended = os.pidfd_open(running.init)
    except OSError as error:
        raise UsageError(
            f"cannot enter {running}: {error.strerror} (it may just have ended; podwire ps lists clusters)"
        ) from None
    interfaces = {
        netns: entered.call_in(netns, lambda: dict(socket.if_nameindex()))
        for netns in {place.netns for place in places}
    }
    for place in places:
        if place.interface and place.interface not in interfaces[place.netns].values():
            known = ", ".join(sorted(interfaces[place.netns].values()))
            raise UsageError(f"{place.netns} has no interface {place.interface!r}: there are {known}")
    with closing(Taps()) as taps:
        slots = dict.fromkeys(sorted(interfaces), SLOTS)
        taps.open(entered, interfaces, {}, slots, width=WIDTH, program=program)
        width = os.get_terminal_size(out).columns if os.isatty(out) else None
        writer = _Writer(out, print_lines(width) if text else _encoder(running), places, most)
        with waking(heeded() & set(ENDING)) as wake:  # a second signal must not end what the first one ends
            complain(f"capturing at {_listed(places)} until Ctrl-C")
            number = _relay(taps, writer, ended, out, wake)
            writer.take(taps.drain())
            lost = f", {count} lost (the ring was full)" if (count := taps.lost()) else ""
            complain(f"{writer.count} {'frame' if writer.count == 1 else 'frames'}{lost}")
    if number not in (0, signal.SIGINT):
        raise Interrupted(number)
    return 0


def _listed(places: Sequence[TapPlace]) -> str:
    """Returns the places by the names of ``podwire ps``."""
    return ", ".join(
        "/".join(filter(None, (place.netns.replace("_", "/", 1), place.interface))) for place in places
    )


def print_lines(width: int | None) -> Callable[[Iterable[Captured]], bytes]:
    """Returns what makes a line of text of each frame, folded to ``width`` columns (None: whole)."""
    screen = Screen(width)

    def encode(frames: Iterable[Captured]) -> bytes:
        lines = (line for one in frames for line in screen.say(frame_line(decode_frame(0, one)), hang="  "))
        return "".join(f"{line}\n" for line in lines).encode()

    return encode


def _encoder(running: Running) -> Callable[[Iterable[Captured]], bytes]:
    section = Section(running.addresses, f"podwire: topology {running.topology}")
    pieces = [section.head()]

    def encode(frames: Iterable[Captured]) -> bytes:
        pieces.append(section.encode(frames))
        data = b"".join(pieces)
        pieces.clear()
        return data

    return encode


class _Writer:
    """Writes the frames that are wanted. ``done``: no more can be, or shall be, written."""

    def __init__(
        self, out: int, encode: Callable[[Iterable[Captured]], bytes], places: Sequence[TapPlace], most: int
    ) -> None:
        self._out, self._encode, self._most = out, encode, most
        self._whole = {place.netns for place in places if not place.interface}
        self._places: Collection[TapPlace] = frozenset(places)
        self.count, self.done = 0, False
        self._write(encode(()))

    def take(self, frames: Sequence[Captured]) -> None:
        """Writes those of ``frames`` that are wanted."""
        if self.done:
            return
        wanted = [
            frame
            for frame in frames
            if frame.netns in self._whole or TapPlace(frame.netns, frame.interface) in self._places
        ]
        if self._most:
            wanted = wanted[: self._most - self.count]
        self.count += len(wanted)
        if wanted:
            self._write(self._encode(sorted(wanted, key=lambda frame: frame.time)))
        self.done |= bool(self._most) and self.count >= self._most

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._out, data) :]
        except BrokenPipeError:  # the reader has seen enough
            self.done = True
        except OSError as error:
            raise UsageError(f"cannot write the capture: {error.strerror}") from None


def _relay(taps: Taps, writer: _Writer, ended: int, out: int, wake: int) -> int:
    """Writes frames until the reader, the cluster or a signal ends it; returns the signal's number, or 0."""
    poll = select.poll()
    for fd in (taps.fileno(), ended, wake):
        poll.register(fd, select.POLLIN)
    poll.register(out, 0)  # reports errors alone: the reader has closed its end
    while not writer.done:
        ready = {fd for fd, _ in poll.poll()}
        if wake in ready:
            return os.read(wake, 64)[0]
        writer.take(taps.drain())
        if ended in ready:
            complain("the cluster has ended")
            break
        if out in ready:
            break
    with suppress(OSError):
        os.close(ended)
    return 0
