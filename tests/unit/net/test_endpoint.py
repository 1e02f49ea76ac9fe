"""Tests an address and a port, as text and back."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.net import AddressError, Endpoint, endpoint_text

IPS = st.ip_addresses().filter(lambda ip: getattr(ip, "ipv4_mapped", None) is None)


@given(IPS, st.integers(0, 65535))
def test_an_endpoint_is_read_as_it_is_printed(ip: ipaddress.IPv4Address, port: int) -> None:
    endpoint = Endpoint.of(str(ip), port)
    assert Endpoint.parse(str(endpoint)) == endpoint == (str(ip), port)
    brackets = ("[", "]") if ip.version == 6 else ("", "")
    assert str(endpoint) == (f"{brackets[0]}{ip}{brackets[1]}:{port}" if port else str(ip))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "10.0.0.1:",
        "10.0.0.1:0",
        "10.0.0.1:65536",
        "10.0.0.1:http",
        "10.0.0.1:٣",
        "10.0.0.1:80:80",
        "[10.0.0.1]:80",
        "[fd00::1]",
        "[fd00::1]80",
        "[fd00::1]:",
        "[fd00::1:80",
        "[]:80",
        "web:80",
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        Endpoint.parse(text)


@given(IPS, st.integers(0, 65535))
def test_the_text_of_an_endpoint_needs_none(ip: ipaddress.IPv4Address, port: int) -> None:
    assert endpoint_text(str(ip), port) == str(Endpoint.of(str(ip), port))
