"""Encodes frames as a pcapng file: nanosecond stamps, one interface per tap, host names and comments.

The format is that of draft-ietf-opsawg-pcapng (sections 4.1 to 4.5). Invariant: every block is little-endian,
padded to four bytes, and carries its length at both ends; an interface is described before the first frame
that was captured on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
from struct import Struct

from .. import __version__
from ..errors import printable
from ..model.frames import Captured
from ..net import IPV4, Address

_SECTION_HEADER, _INTERFACE_DESCRIPTION, _NAME_RESOLUTION, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 4, 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_LINKTYPE_ETHERNET = 1
_SNAPLEN = 262_144  # the longest Ethernet frame that Wireshark reads
_OPT_END, _OPT_COMMENT, _SHB_USERAPPL, _IF_NAME, _IF_TSRESOL, _EPB_FLAGS = 0, 1, 4, 2, 9, 2
_NRB_END, _NRB_IPV4, _NRB_IPV6 = 0, 1, 2
_INBOUND, _OUTBOUND = 1, 2  # epb_flags, bits 0 and 1
_LOW_HALF = 0xFFFF_FFFF

_HEAD = Struct("<HH")  # an option or a name record: code, length
_BLOCK = Struct("<II")  # type, total length
_TOTAL = Struct("<I")
_LONGEST_OPTION = 0xFFFF
_LONGEST_NAME = 255

_PIECE = 10_000  # frames that are encoded at a time

_NO_NAMES: Mapping[str, str] = {}
_NO_COMMENTS: Mapping[int, Sequence[str]] = {}


def encode_pcapng(
    frames: Sequence[Captured],
    *,
    names: Mapping[str, str] = _NO_NAMES,
    comments: Mapping[int, Sequence[str]] = _NO_COMMENTS,
    numbers: Sequence[int] | None = None,
    section_comment: str = "",
) -> bytes:
    """Returns the pcapng file that holds ``frames``, in the order given.

    ``names`` maps an address to a name (written as a name resolution block); an empty name is left out.
    ``comments`` maps a frame's number to its comments, ``numbers`` gives the number of each frame (``None``:
    0, 1, 2…). Control characters in names and comments are spelled out. Raises ``ValueError`` if a key of
    ``names`` is no address, or ``numbers`` and ``frames`` differ in length.
    """
    if numbers is not None and len(numbers) != len(frames):
        raise ValueError(f"{len(frames)} frames, but {len(numbers)} numbers")
    taps = dict.fromkeys((frame.netns, frame.interface) for frame in frames)
    numbered = zip(count() if numbers is None else numbers, frames, strict=False)
    return b"".join(
        stream_pcapng(numbered, taps, names=names, comments=comments, section_comment=section_comment)
    )


def stream_pcapng(
    frames: Iterable[tuple[int, Captured]],
    taps: Iterable[tuple[str, str]],
    *,
    names: Mapping[str, str] = _NO_NAMES,
    comments: Mapping[int, Sequence[str]] = _NO_COMMENTS,
    section_comment: str = "",
) -> Iterator[bytes]:
    """Yields the file of :func:`encode_pcapng` in pieces. ``frames`` come with their numbers; ``taps`` are
    the (netns, interface) of all of them, in the order in which the file describes them.
    """
    numbers = {tap: number for number, tap in enumerate(taps)}
    head = [
        _section_header(section_comment),
        *(_interface(f"{netns}/{interface}") for netns, interface in numbers),
    ]
    if records := b"".join(_name_record(ip, name) for ip, name in names.items()):
        head.append(_block(_NAME_RESOLUTION, records, _HEAD.pack(_NRB_END, 0)))
    packers: dict[int, tuple[Callable[..., bytes], int]] = {}
    packets = head
    options = (_flags(_INBOUND) + _end(), _flags(_OUTBOUND) + _end())
    for number, (time, netns, interface, outgoing, length, data, _) in frames:
        tap, captured = numbers[netns, interface], len(data)
        if number in comments:
            tail = b"".join(_text(_OPT_COMMENT, text) for text in comments[number]) + options[outgoing]
            fixed = Struct("<5I").pack(tap, time >> 32, time & _LOW_HALF, captured, length)
            packets.append(_block(_ENHANCED_PACKET, fixed, _pad(data), tail))
            continue
        try:
            pack, total = packers[captured]
        except KeyError:
            pack, total = packers[captured] = _packer(captured, len(options[0]))
        packets.append(
            pack(
                _ENHANCED_PACKET,
                total,
                tap,
                time >> 32,
                time & _LOW_HALF,
                captured,
                length,
                data,
                options[outgoing],
                total,
            )
        )
        if len(packets) > _PIECE:
            yield b"".join(packets)
            packets = []
    yield b"".join(packets)


class Section:
    """Encodes one file of frames as they come: an interface is described when its first frame does."""

    def __init__(self, names: Mapping[str, str] = _NO_NAMES, comment: str = "") -> None:
        records = b"".join(_name_record(ip, name) for ip, name in names.items())
        self._head = _section_header(comment)
        if records:
            self._head += _block(_NAME_RESOLUTION, records, _HEAD.pack(_NRB_END, 0))
        self._numbers: dict[tuple[str, str], int] = {}

    def head(self) -> bytes:
        """Returns the beginning of the file."""
        return self._head

    def encode(self, frames: Iterable[Captured]) -> bytes:
        """Returns what ``frames`` add to the file."""
        blocks = []
        for time, netns, interface, outgoing, length, data, _ in frames:
            tap = (netns, interface)
            if tap not in self._numbers:
                self._numbers[tap] = len(self._numbers)
                blocks.append(_interface(f"{netns}/{interface}"))
            fixed = Struct("<5I").pack(self._numbers[tap], time >> 32, time & _LOW_HALF, len(data), length)
            tail = _flags(_OUTBOUND if outgoing else _INBOUND) + _end()
            blocks.append(_block(_ENHANCED_PACKET, fixed, _pad(data), tail))
        return b"".join(blocks)


@lru_cache(maxsize=4096)
def _packer(captured: int, options: int) -> tuple[Callable[..., bytes], int]:
    """Returns a function that packs a whole frame block with ``captured`` bytes of data in one call (struct
    pads with zeros), and its length.
    """
    layout = Struct(f"<7I{captured + -captured % 4}s{options}sI")
    return layout.pack, layout.size


def _section_header(comment: str) -> bytes:
    options = (
        (_text(_OPT_COMMENT, comment) if comment else b"")
        + _text(_SHB_USERAPPL, f"podwire {__version__}")
        + _end()
    )
    return _block(_SECTION_HEADER, Struct("<IHHq").pack(_BYTE_ORDER_MAGIC, 1, 0, -1), options)


@lru_cache(maxsize=4096)  # one run writes thousands of files about the same taps and addresses
def _interface(name: str) -> bytes:
    # a stamp counts units of 10 ** -9 s
    options = _text(_IF_NAME, name) + _option(_IF_TSRESOL, b"\x09") + _end()
    return _block(_INTERFACE_DESCRIPTION, Struct("<HHI").pack(_LINKTYPE_ETHERNET, 0, _SNAPLEN), options)


@lru_cache(maxsize=4096)
def _name_record(ip: str, name: str) -> bytes:
    address = Address(ip)
    if not name:
        return b""
    return _option(
        _NRB_IPV4 if address.family is IPV4 else _NRB_IPV6,
        address.packed + _cut(name, _LONGEST_NAME) + b"\0",
    )


def _flags(direction: int) -> bytes:
    return _option(_EPB_FLAGS, _TOTAL.pack(direction))


def _end() -> bytes:
    return _HEAD.pack(_OPT_END, 0)


def _text(code: int, text: str) -> bytes:
    return _option(code, _cut(text, _LONGEST_OPTION))


def _cut(text: str, longest: int) -> bytes:
    """Returns ``text`` without control characters, in UTF-8, cut between characters at ``longest`` bytes."""
    return printable(text).encode()[:longest].decode(errors="ignore").encode()


def _option(code: int, value: bytes) -> bytes:
    return _HEAD.pack(code, len(value)) + _pad(value)


def _pad(value: bytes) -> bytes:
    return value + bytes(-len(value) % 4)


def _block(kind: int, *body: bytes) -> bytes:
    content = b"".join(body)
    total = len(content) + _BLOCK.size + _TOTAL.size
    return _BLOCK.pack(kind, total) + content + _TOTAL.pack(total)
