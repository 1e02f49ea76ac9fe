"""Tests how nft spells each address family."""

from __future__ import annotations

import pytest

from emulator.net import IPV4, IPV6, Family, Prefix
from emulator.proxy.nftables import frame, picking
from emulator.proxy.nfttable import Parts, make_table, words_of


def test_a_table_is_named_with_its_family() -> None:
    assert words_of(IPV4).table == "ip kube-proxy"
    assert words_of(IPV6).table == "ip6 kube-proxy"


@pytest.mark.parametrize(
    ("family", "cidr", "foreign"),
    [
        (IPV4, "10.96.0.0/12", ("ip6 ", "ipv6_addr")),
        (IPV6, "fd00:10:96::/112", ("ip ", "ipv4_addr")),
    ],
    ids=str,
)
def test_a_table_has_the_words_of_one_family_only(
    family: Family, cidr: str, foreign: tuple[str, ...]
) -> None:
    words = words_of(family)
    parts = Parts(words)
    parts.affinity["affinity-x"] = 60
    parts.elements["cluster-ip-2-endpoints"] = []
    parts.chains.append(("cluster-ip-2", picking(words, (), 2, "cluster-ip-2-endpoints")))
    text = make_table(parts, frame(Prefix(cidr)), ()).text
    assert cidr in text
    assert f"type {family.nft_type}" in text
    assert f"dnat {family.nft} to {family.nft} daddr" in text
    for word in foreign:
        assert not any(line.lstrip().startswith(word) or f" {word}" in line for line in text.splitlines())
