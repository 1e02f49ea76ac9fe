"""Tests the pcapng writer: read back by a small reader of the format, and by Wireshark's own."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.model.frames import Captured
from emulator.report.pcapng import encode_pcapng
from tests.unit.report.samples import (
    FRAMES,
    NAMES,
    START,
    captured,
)

needs_tshark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is not installed (Debian package tshark)"
)


# --- a reader of our own ----------------------------------------------------------------------------------


@dataclass
class Parsed:
    """Holds the contents of a pcapng file's blocks."""

    section: dict[int, list[bytes]] = field(default_factory=dict)
    interfaces: list[str] = field(default_factory=list)
    names: list[tuple[bytes, str]] = field(default_factory=list)
    frames: list[Captured] = field(default_factory=list)
    comments: list[list[str]] = field(default_factory=list)


def blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, total = struct.unpack_from("<II", data, at)
        assert total % 4 == 0
        assert struct.unpack_from("<I", data, at + total - 4) == (total,), (
            "both lengths of a block must agree"
        )
        yield kind, data[at + 8 : at + total - 4]
        at += total
    assert at == len(data)


def records(data: bytes) -> list[tuple[int, bytes]]:
    """Yields options or name records up to the end mark, which must be there and last."""
    found, at = [], 0
    while True:
        code, length = struct.unpack_from("<HH", data, at)
        at += 4
        if code == 0:
            assert (length, at) == (0, len(data))
            return found
        found.append((code, data[at : at + length]))
        assert not any(data[at + length : at + length + -length % 4]), "padding must be zeros"
        at += length + -length % 4


def parse(data: bytes) -> Parsed:
    parsed = Parsed()
    for index, (kind, body) in enumerate(blocks(data)):
        assert (kind == 0x0A0D0D0A) == (index == 0), "one section, at the beginning"
        if index == 0:
            assert struct.unpack_from("<IHHq", body) == (0x1A2B3C4D, 1, 0, -1)
            for code, value in records(body[16:]):
                parsed.section.setdefault(code, []).append(value)
        elif kind == 1:
            assert struct.unpack_from("<HHI", body) == (1, 0, 262144)
            options = dict(records(body[8:]))
            assert options[9] == b"\x09"
            parsed.interfaces.append(options[2].decode())
        elif kind == 4:
            parsed.names += [
                (value[: 4 if code == 1 else 16], value[4 if code == 1 else 16 : -1].decode())
                for code, value in records(body)
            ]
        else:
            assert kind == 6
            tap, high, low, size, length = struct.unpack_from("<5I", body)
            padded = 20 + size + -size % 4
            options = records(body[padded:])
            flags = [int.from_bytes(value, "little") for code, value in options if code == 2]
            netns, interface = parsed.interfaces[tap].split("/")
            parsed.frames.append(
                Captured(
                    high << 32 | low,
                    netns,
                    interface,
                    {1: False, 2: True}[flags[0]],
                    length,
                    body[20 : 20 + size],
                )
            )
            parsed.comments.append([value.decode() for code, value in options if code == 1])
    return parsed


names_of_taps = st.text("abc-_0", min_size=1, max_size=6)
frames_of_any_kind = st.lists(
    st.builds(
        Captured,
        time=st.integers(0, 2**64 - 1),
        netns=names_of_taps,
        interface=names_of_taps,
        outgoing=st.booleans(),
        length=st.integers(0, 2**32 - 1),
        data=st.binary(max_size=70),
        stray=st.just(False),  # correlation's affair: the file says nothing of it
    ),
    max_size=12,
)


@given(
    frames_of_any_kind,
    st.dictionaries(st.integers(0, 11), st.lists(st.text("a→é ", min_size=1, max_size=9), max_size=3)),
)
def test_what_is_written_is_read_back(frames: list[Captured], comments: dict[int, list[str]]) -> None:
    parsed = parse(encode_pcapng(frames, comments=comments))
    assert parsed.frames == frames
    assert parsed.comments == [comments.get(number, []) for number in range(len(frames))]


@given(frames_of_any_kind)
def test_only_taps_that_occur_have_an_interface_each_once(frames: list[Captured]) -> None:
    interfaces = parse(encode_pcapng(frames)).interfaces
    assert sorted(interfaces) == sorted({f"{frame.netns}/{frame.interface}" for frame in frames})


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_text_breaks_the_file_or_keeps_a_control_character(name: str, comment: str) -> None:
    parsed = parse(
        encode_pcapng(
            FRAMES[:1],
            names={"10.0.0.1": name, "fd00::1": "six"},
            comments={0: [comment]},
            section_comment=comment,
        )
    )
    written = [text for _, text in parsed.names] + parsed.comments[0]
    assert all(text.isprintable() for text in written)
    assert parsed.names[-1] == (bytes.fromhex("fd000000000000000000000000000001"), "six")
    assert len(parsed.names) == (2 if name else 1)


def test_a_comment_longer_than_an_option_is_cut_between_characters() -> None:
    (comment,) = parse(encode_pcapng(FRAMES[:1], comments={0: ["→" * 40_000]})).comments[0]
    assert comment == "→" * (65_535 // 3)


def test_comments_follow_the_numbers_of_the_frames() -> None:
    parsed = parse(encode_pcapng(FRAMES[:3], numbers=[7, 0, 5], comments={0: ["zero"], 5: ["five", "again"]}))
    assert parsed.comments == [[], ["zero"], ["five", "again"]]


def test_as_many_numbers_as_frames_are_needed() -> None:
    with pytest.raises(ValueError, match="7 frames, but 1 numbers"):
        encode_pcapng(FRAMES, numbers=[0])


def test_a_name_needs_an_address() -> None:
    with pytest.raises(ValueError, match="worker-1"):
        encode_pcapng(FRAMES, names={"worker-1": "10.0.0.1"})


def test_the_section_names_the_program_and_carries_its_comment() -> None:
    section = parse(encode_pcapng([], section_comment="topology x")).section
    assert section[1] == [b"topology x"]
    assert section[4][0].startswith(b"podwire ")


# --- Wireshark's reader -----------------------------------------------------------------------------------


def tshark(file: Path, *fields: str) -> list[list[str]]:
    """Returns the fields of each frame. ``-N n`` resolves from the file's own names; without "N" among the
    flags no DNS server is asked.
    """
    argv = [
        "tshark",
        "-N",
        "n",
        "-r",
        str(file),
        "-T",
        "fields",
        *(word for name in fields for word in ("-e", name)),
    ]
    run = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    return [line.split("\t") for line in run.stdout.splitlines()]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pcapng") / "sample.pcapng"
    file.write_bytes(
        encode_pcapng(
            FRAMES, names=NAMES, comments={2: ["DNAT at worker-1", "second"]}, section_comment="a run"
        )
    )
    return file


@needs_tshark
def test_wireshark_keeps_nanoseconds_taps_and_directions(sample: Path) -> None:
    rows = tshark(
        sample,
        "frame.time_epoch",
        "frame.interface_id",
        "frame.interface_name",
        "frame.packet_flags_direction",
    )
    assert rows[:3] == [
        ["1767225600.000000001", "0", "default_client/eth0", "0x00000002"],
        ["1767225600.000000501", "1", "worker-1/veth1", "0x00000001"],
        ["1767225600.000000901", "2", "worker-1/eth0", "0x00000002"],
    ]


@needs_tshark
def test_wireshark_shows_names_and_comments(sample: Path) -> None:
    rows = tshark(sample, "ip.src_host", "ip.dst_host", "frame.comment")
    assert rows[1] == ["client", "svc/web", ""]
    assert rows[2] == ["client", "web-1", "DNAT at worker-1,second"]
    assert rows[6][1] == "10.96.0.20", "an address without a name stays an address"


@needs_tshark
def test_wireshark_sees_what_was_cut(tmp_path: Path) -> None:
    file = tmp_path / "cut.pcapng"
    file.write_bytes(encode_pcapng([captured(0, "n", "e", True, bytes(60))._replace(length=1500)]))
    assert tshark(file, "frame.len", "frame.cap_len") == [["1500", "60"]]


@needs_tshark
def test_capinfos_calls_the_file_whole_and_in_order(sample: Path) -> None:
    run = subprocess.run(["capinfos", str(sample)], capture_output=True, text=True, check=True, timeout=60)
    facts = dict(line.split(":", 1) for line in run.stdout.splitlines() if ":" in line)
    assert facts["Strict time order"].strip() == "True"
    assert facts["File timestamp precision"].strip() == "nanoseconds (9)"
    assert facts["Number of packets"].strip() == str(len(FRAMES))
    assert facts["Capture comment"].strip() == "a run"
    assert facts["Number of resolved IPv4 addresses in file"].strip() == str(len(NAMES))


def test_the_sample_would_show_a_loss_of_nanoseconds() -> None:
    assert START % 1000
