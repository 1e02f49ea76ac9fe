"""Tests the places and filters of ``podwire capture``, and its lines."""

from __future__ import annotations

import shutil

import pytest

from emulator.capture.decode import decode_frame
from emulator.errors import UsageError
from emulator.model.frames import Captured
from emulator.report.frame_line import frame_line
from emulator.run.capturing import TapPlace, compile_filter, find_places, print_lines
from tests.unit.run.test_naming import MEMBERS, NAMES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("worker-1", [TapPlace("worker-1")]),
        ("worker-1/eth0", [TapPlace("worker-1", "eth0")]),
        ("default/client", [TapPlace("default_client")]),
        ("default/client/eth0", [TapPlace("default_client", "eth0")]),
        ("default_client/eth0", [TapPlace("default_client", "eth0")]),
        ("deploy/web", [TapPlace("default_web-d98-xyz")]),
        ("deploy/web/eth0", [TapPlace("default_web-d98-xyz", "eth0")]),
        ("worker-1/eth0,client,worker-1/eth0", [TapPlace("worker-1", "eth0"), TapPlace("default_client")]),
    ],
)
def test_a_place_is(text: str, expected: list[TapPlace]) -> None:
    assert find_places(text, NAMES, MEMBERS, "shop", "") == expected


@pytest.mark.parametrize("text", ["nobody", "nobody/eth0", "worker-1,nobody"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no Pod, node or client 'nobody"):
        find_places(text, NAMES, MEMBERS, "shop", "")


@pytest.mark.skipif(not shutil.which("tcpdump"), reason="tcpdump compiles filters")
def test_a_filter_is_compiled_or_refused() -> None:
    assert compile_filter("arp")[0] == (0x28, 0, 0, 12)  # ldh [12]
    with pytest.raises(UsageError, match=r"filter 'tcp prot 80': tcpdump: .*syntax error"):
        compile_filter("tcp prot 80")
    with pytest.raises(UsageError):
        compile_filter("-w /tmp/x")


def test_a_frame_is_a_line() -> None:
    arp = bytes.fromhex(
        "ffffffffffff 020000000001 0806 0001080006040001 020000000001 0a000001 000000000000 0a000002"
    )
    captured = Captured(1_700_000_000_000_000_001, "worker-1", "eth0", True, 42, arp, False)
    assert print_lines(40)([captured]).decode().splitlines() == [
        "22:13:20.000000001 worker-1/eth0 out ARP",
        "  length 42",
    ]
    assert print_lines(None)([captured]).decode() == f"{frame_line(decode_frame(0, captured))}\n"
    assert frame_line(decode_frame(0, captured)) == "22:13:20.000000001 worker-1/eth0 out ARP length 42"
