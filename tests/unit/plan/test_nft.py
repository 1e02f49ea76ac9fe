"""Tests tables of nftables: how they are printed, and the names in their changes."""

from __future__ import annotations

import pytest

from emulator.plan.nft import NftChain, NftSet, NftTable, compare_tables


def nft_table(elements: dict[str, str], chains: dict[str, NftChain], timeout: str = "1s") -> NftTable:
    sets = {
        "m": NftSet("map", ("type ipv4_addr : verdict",), elements),
        "s": NftSet("set", ("type ipv4_addr", f"timeout {timeout}"), {}),
    }
    return NftTable(
        "ip t",
        "a table",
        sets,
        {"begin": NftChain(("ip daddr vmap @m",), "type filter hook input priority 0;"), **chains},
    )


NFT = nft_table(
    {"10.0.0.1": "10.0.0.1 : goto a", "10.0.0.2": "10.0.0.2 : drop"}, {"a": NftChain(("accept",))}
)


def test_a_change_of_a_table_is_element_by_element() -> None:
    new = nft_table(
        {"10.0.0.2": "10.0.0.2 : goto b", "10.0.0.3": "10.0.0.3 : drop"}, {"b": NftChain(("counter", "drop"))}
    )
    change = compare_tables(NFT, new)
    assert change
    assert change.text.splitlines() == [
        "add chain ip t b",
        "delete element ip t m { 10.0.0.1, 10.0.0.2 }",
        "flush chain ip t a",
        "add rule ip t b counter",
        "add rule ip t b drop",
        "add element ip t m { 10.0.0.2 : goto b, 10.0.0.3 : drop }",
        "delete chain ip t a",
    ]


@pytest.mark.parametrize(
    "new",
    [
        nft_table({}, {}, timeout="2s"),
        nft_table({}, {"begin": NftChain((), "type filter hook input priority 1;")}),
        nft_table({}, {"a": NftChain(("dnat ip to th dport map @m",), maps=("m",))}),
    ],
    ids=["a set declared otherwise", "a chain hooked in otherwise", "a rule that nft cannot add"],
)
def test_what_cannot_be_changed_must_be_loaded_whole(new: NftTable) -> None:
    assert compare_tables(NFT, new) is None


def test_nothing_changed_is_no_change() -> None:
    change = compare_tables(NFT, NFT)
    assert change is not None
    assert not change
    assert change.text == ""


def test_a_chain_and_a_set_that_go_are_named_last() -> None:
    new = NftTable(NFT.name, NFT.comment, {"m": NFT.sets["m"]}, {"begin": NFT.chains["begin"]})
    change = compare_tables(NFT, new)
    assert change
    assert change.text.splitlines() == ["flush chain ip t a", "delete chain ip t a", "delete set ip t s"]
