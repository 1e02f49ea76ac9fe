"""Tests MAC addresses and names of links."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.net import (
    IFNAMSIZ,
    InterfaceName,
    MacAddress,
    interface_name,
    mac_of_ip,
    mac_of_name,
)


@given(st.binary(min_size=6, max_size=6))
def test_a_mac_address_is_its_six_bytes(packed: bytes) -> None:
    mac = MacAddress.of_packed(packed)
    assert mac.packed == packed
    assert MacAddress(str(mac)) == mac


@pytest.mark.parametrize(
    "text", ["", "0a:58:0a", "0A:58:0a:00:00:01", "0a-58-0a-00-00-01", "0a:58:0a:00:00:01:02"]
)
def test_what_is_no_mac_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a MAC address"):
        MacAddress(text)


@pytest.mark.parametrize("text", ["", ".", "..", "a" * 16, "a/b", "a b", "a:b", "a\n", "é" * 8])
def test_what_linux_refuses_is_no_interface_name(text: str) -> None:
    with pytest.raises(ValueError, match="not an interface name"):
        InterfaceName(text)


@given(st.from_regex(r"\A[a-z0-9-]{1,80}\Z"))
def test_names_fit_and_are_the_same_every_time(text: str) -> None:
    name = interface_name("veth", text)
    assert len(name) <= IFNAMSIZ
    assert name == interface_name("veth", text)
    assert mac_of_name(text) == MacAddress(mac_of_name(text))
    assert mac_of_name(text).packed[0] == 0x0E  # locally administered, unicast


def test_the_mac_of_an_address_is_that_of_the_bridge_plug_in() -> None:
    assert mac_of_ip("10.244.1.7") == "0a:58:0a:f4:01:07"
    assert mac_of_ip("fd00::1:2") == "0a:58:00:01:00:02"
