"""Tests rule sets: printing, merging, and the checks of rule text."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.net import IPV4
from emulator.plan.checked import UnsafeTextError, address, comment, network, number
from emulator.plan.rules import RuleSet, compose, merge
from tests.iptables_save import parse

PROXY = RuleSet({"nat": {"POSTROUTING": ("-j KUBE-POSTROUTING",), "KUBE-POSTROUTING": ("-j RETURN",)}})
PODNET = RuleSet({"nat": {"POSTROUTING": ("-j IP-MASQ",), "IP-MASQ": ()}})


def test_text_declares_flushes_and_fills_in_a_stable_order() -> None:
    assert compose(PROXY, PODNET).splitlines() == [
        "*nat",
        "-Z",
        ":PREROUTING ACCEPT [0:0]",
        ":INPUT ACCEPT [0:0]",
        ":OUTPUT ACCEPT [0:0]",
        ":POSTROUTING ACCEPT [0:0]",
        ":KUBE-POSTROUTING - [0:0]",
        ":IP-MASQ - [0:0]",
        "-F PREROUTING",
        "-F INPUT",
        "-F OUTPUT",
        "-F POSTROUTING",
        "-A POSTROUTING -j KUBE-POSTROUTING",
        "-A POSTROUTING -j IP-MASQ",
        "-A KUBE-POSTROUTING -j RETURN",
        "COMMIT",
    ]


def test_chains_stay_in_their_order() -> None:
    lines = compose(RuleSet({"filter": {"SVC": ("-j SEP",), "SEP": ("-j ACCEPT",)}})).splitlines()
    assert [line for line in lines if line.startswith(":S")] == [":SVC - [0:0]", ":SEP - [0:0]"]
    assert [line for line in lines if line.startswith("-A")] == ["-A SVC -j SEP", "-A SEP -j ACCEPT"]


def test_tables_follow_the_kernels_order_whoever_names_them_first() -> None:
    text = compose(RuleSet({"nat": {}, "raw": {}}), RuleSet({"filter": {}}))
    assert [line for line in text.splitlines() if line.startswith("*")] == ["*raw", "*filter", "*nat"]


def test_two_owners_of_a_chain_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="KUBE-POSTROUTING"):
        merge(PROXY, PROXY)


def test_merging_leaves_its_arguments_alone() -> None:
    merge(PROXY, PODNET)
    assert PROXY.tables["nat"]["POSTROUTING"] == ("-j KUBE-POSTROUTING",)


CHAINS = st.dictionaries(
    st.sampled_from(["A", "B", "PREROUTING"]),
    st.lists(st.sampled_from(["-j A", "-s 10.0.0.0/8 -j B"])).map(tuple),
)


@given(st.dictionaries(st.sampled_from(["raw", "nat", "filter"]), CHAINS))
def test_printing_loses_nothing(tables: dict[str, dict[str, tuple[str, ...]]]) -> None:
    shown = parse(compose(RuleSet(tables)))
    assert {t: {c: tuple(shown[t][c]) for c in chains} for t, chains in tables.items()} == tables


@given(st.text(min_size=1))
def test_a_comment_is_one_word_or_refused(text: str) -> None:
    try:
        rule = comment(text)
    except UnsafeTextError:
        return
    assert rule == f'-m comment --comment "{text}"'
    assert not set(text) & set("\"'\\\n\r\t$`")
    assert text.isascii()


@pytest.mark.parametrize("text", ["", "x" * 256, 'a" -j ACCEPT', "a\nCOMMIT", "a\\", "naïve"])
def test_unsafe_comments_are_refused(text: str) -> None:
    with pytest.raises(UnsafeTextError):
        comment(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.1 -j ACCEPT",
        "10.0.0.256",
        "::1",
        "010.0.0.1",
        "10.0.0.1\n",
        "10.0.0.0/8",
        "1.2.3",
        "1.2.3.٤",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UnsafeTextError):
        address(text, IPV4)


@given(st.lists(st.integers(0, 300), min_size=4, max_size=4))
def test_an_address_is_what_the_standard_library_takes_for_one(octets: list[int]) -> None:
    text = ".".join(map(str, octets))
    if max(octets) < 256:
        assert address(text) == str(IPv4Address(text))
    else:
        with pytest.raises(UnsafeTextError):
            address(text)


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("203.0.113.0/24", "203.0.113.0/24"),
        (" 203.0.113.7/24 ", "203.0.113.0/24"),
    ],
)
def test_prefixes_are_canonical(text: str, prefix: str) -> None:
    assert network(text) == prefix


@pytest.mark.parametrize(
    "text",
    ["", "all", "10.0.0.1", "10.0.0.0/33", "10.0.0.0/8,10.0.0.0/9", "10.0.0.0/8\n-j ACCEPT", "fd00::/8"],
)
def test_what_is_no_prefix_is_refused(text: str) -> None:
    with pytest.raises(UnsafeTextError):
        network(text, IPV4)


def test_either_family_is_taken_where_none_is_named() -> None:
    assert (address("::1"), network("fd00::/8")) == ("::1", "fd00::/8")


@pytest.mark.parametrize("value", [-1, 2**31, "80", True, 1.0, None])
def test_what_is_no_number_is_refused(value: int) -> None:
    with pytest.raises(UnsafeTextError):
        number(value)
