"""Tests ARP replies, and gratuitous ARP."""

from __future__ import annotations

import pytest
from scapy.layers.l2 import ARP, Ether

from emulator.net import Address
from emulator.workload.arp import answer, gratuitous

MINE, ASKER, ALL = "0a:58:ac:12:00:03", "0a:58:ac:12:00:01", "ff:ff:ff:ff:ff:ff"
ANNOUNCED = Address("172.18.255.200")


def who_has(ip: str = ANNOUNCED, to: str = ALL, **fields: int) -> Ether:
    return Ether(src=ASKER, dst=to) / ARP(hwsrc=ASKER, psrc="172.18.0.1", pdst=ip, **fields)


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


@pytest.mark.parametrize("to", [ALL, MINE])
def test_who_asks_is_told_and_nobody_else(to: str) -> None:
    reply = Ether(answer(bytes(who_has(to=to)), mac(MINE), {ANNOUNCED}))
    assert (reply.src, reply.dst) == (MINE, ASKER)
    said = reply[ARP]
    assert (said.op, said.hwsrc, said.psrc, said.hwdst, said.pdst) == (
        2,
        MINE,
        ANNOUNCED,
        ASKER,
        "172.18.0.1",
    )


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(who_has("172.18.255.201"), id="another address"),
        pytest.param(who_has(op=2), id="a reply"),
        pytest.param(who_has(to="0a:58:ac:12:00:04"), id="to another node"),
        pytest.param(who_has(ptype=0x86DD), id="not of IPv4"),
        pytest.param(Ether(bytes(who_has())[:41]), id="cut off"),
        pytest.param(Ether(type=0x0800) / bytes(60), id="no ARP"),
    ],
)
def test_the_rest_is_not_answered(frame: Ether) -> None:
    assert answer(bytes(frame), mac(MINE), {ANNOUNCED}) is None


def test_a_takeover_is_told_to_everybody_both_ways() -> None:
    frames = [Ether(frame) for frame in gratuitous(ANNOUNCED, mac(MINE))]
    assert [(f.src, f.dst, f[ARP].op, f[ARP].hwsrc, f[ARP].psrc, f[ARP].pdst) for f in frames] == [
        (MINE, ALL, operation, MINE, ANNOUNCED, ANNOUNCED) for operation in (1, 2)
    ]
