"""Tests the capture files of a run, and the comments on their frames."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Ether

from emulator.model.frames import Health
from emulator.report.captures import (
    ALL_FRAMES,
    announcement,
    plan_captures,
    slug,
    verdict_line,
)
from tests.unit.report.samples import (
    CLIENT,
    FAILED,
    FRAMES,
    NAMES,
    PASSED,
    REPORT,
    WEB_1,
    flow,
)
from tests.unit.report.test_pcapng import Parsed, parse


@given(
    st.text()
    | st.sampled_from(
        [
            "../../etc/passwd",
            "..",
            "-rf",
            "a/b",
            "\0",
            "C:\\x",
            "~",
            "'; rm -rf /",
            "-" * 300,
            "a" * 300,
            "名前",
        ]
    )
)
def test_a_slug_is_a_harmless_file_name(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,78}[a-z0-9])?", slug(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pod default/client → svc default/web:80", "pod-default-client-svc-default-web-80"),
        ("", "flow"),
        ("…", "flow"),
        ("a" * 79 + " b", "a" * 79),
    ],
)
def test_slug(text: str, expected: str) -> None:
    assert slug(text) == expected


def planned() -> tuple[list[str], dict[str, Parsed]]:
    report, files = plan_captures(REPORT, FRAMES, NAMES, {})
    return [name for result in report.flows for name in result.captures], {
        name: parse(b"".join(content)) for name, content in files
    }


def test_one_file_per_flow_and_one_for_all() -> None:
    captures, files = planned()
    assert captures == [
        "01-pod-default-client-svc-default-web-80-other-node.pcapng",
        "02-pod-default-client-svc-default-gone-80.pcapng",
    ]
    assert list(files) == [ALL_FRAMES, *captures]
    assert files[ALL_FRAMES].frames == FRAMES
    assert files[captures[0]].frames == FRAMES[:6]
    assert files[captures[1]].frames == FRAMES[6:]


def test_changes_and_the_verdict_are_written_on_the_frames() -> None:
    captures, files = planned()
    changed = [
        "DNAT at worker-1: 10.96.0.10:80 → 10.244.2.4:8080",
        "DNAT at worker-1: 10.96.0.10:80 → 10.244.1.3:8080",
    ]
    last = ["un-DNAT at worker-1: 10.244.2.4:8080 → 10.96.0.10:80", verdict_line(PASSED)]
    assert files[captures[0]].comments == [[], [], changed, [], [], last]
    assert files[ALL_FRAMES].comments == [[], [], changed, [], [], last, [verdict_line(FAILED)]]


def test_the_verdict_line_says_what_was_seen_and_why() -> None:
    assert verdict_line(PASSED) == (
        "podwire: PASS pod default/client → svc default/web:80 (other node): dialled 10.96.0.10:80, "
        "source 10.244.1.2 → 10.244.1.2"
    )
    assert verdict_line(FAILED) == (
        "podwire: FAIL pod default/client → svc default/gone:80: dialled 10.96.0.20:80, source "
        "10.244.1.2 → none: "
        "it was dropped, not delivered: silence: last seen at default_client/eth0 out"
    )
    checked = replace(PASSED, observed=replace(PASSED.observed, health=(Health(503, 0),)))
    assert verdict_line(checked).endswith(", source 10.244.1.2 → 10.244.1.2, answered 503, 0 local endpoints")


def test_a_flow_file_names_only_what_it_met() -> None:
    captures, files = planned()
    assert {name for _, name in files[ALL_FRAMES].names} == set(NAMES.values())
    assert {name for _, name in files[captures[0]].names} == {NAMES[CLIENT], NAMES[WEB_1], "svc/web"}
    assert {name for _, name in files[captures[1]].names} == {"client"}


def test_frames_stand_in_the_order_of_their_stamps_with_their_own_comments() -> None:
    shuffled = [FRAMES[i] for i in (5, 4, 3, 2, 1, 0)]
    result = replace(PASSED, frames=(0, 1, 2, 3, 4, 5), journeys=())
    _, files = plan_captures(replace(REPORT, flows=(result,)), shuffled, {}, {})
    for _, content in files:
        parsed = parse(b"".join(content))
        assert parsed.frames == FRAMES[:6]
        assert parsed.comments == [[], [], [], [], [], [verdict_line(result)]]


def test_flows_of_one_name_have_files_of_their_own_and_a_flow_without_frames_has_an_empty_one() -> None:
    silent = replace(FAILED, flow=flow("../x"), frames=(), journeys=())
    report, files = plan_captures(replace(REPORT, flows=(silent, silent)), FRAMES, NAMES, {})
    contents = {name: b"".join(content) for name, content in files}
    assert [result.captures for result in report.flows] == [("01-x.pcapng",), ("02-x.pcapng",)]
    assert parse(contents["01-x.pcapng"]).frames == []
    assert b"FAIL ../x" in contents["01-x.pcapng"], "the section says what no frame can"


def test_numbers_sort_as_text() -> None:
    report, _ = plan_captures(replace(REPORT, flows=(FAILED,) * 100), FRAMES, NAMES, {})
    files = [result.captures[0] for result in report.flows]
    assert files == sorted(files)


NODE_MAC, ROUTER_MAC = "0a:58:ac:12:00:03", "0a:58:ac:12:00:01"
MACS, NODES = {NODE_MAC: "worker-1"}, {"172.18.0.3": "worker-1", "172.18.0.1": "router"}


def arp(op: int, sender: str, ip: str, target: str) -> bytes:
    return bytes(Ether(src=sender, dst="ff:ff:ff:ff:ff:ff") / ARP(op=op, hwsrc=sender, psrc=ip, pdst=target))


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        pytest.param(
            arp(2, NODE_MAC, "172.18.255.200", "172.18.0.1"),
            "worker-1 announces 172.18.255.200",
            id="an answer",
        ),
        pytest.param(
            arp(1, NODE_MAC, "172.18.255.200", "172.18.255.200"),
            "worker-1 announces 172.18.255.200 (gratuitous ARP)",
            id="unasked",
        ),
        pytest.param(arp(2, NODE_MAC, "172.18.0.3", "172.18.0.1"), "", id="its own address"),
        pytest.param(
            arp(1, NODE_MAC, "172.18.255.200", "172.18.0.1"),
            "",
            id="a question, with that address as its source",
        ),
        pytest.param(arp(2, ROUTER_MAC, "172.18.255.200", "172.18.0.3"), "", id="no node"),
        pytest.param(arp(2, NODE_MAC, "172.18.255.200", "172.18.0.1")[:41], "", id="cut off"),
        pytest.param(bytes(60), "", id="no ARP"),
    ],
)
def test_an_announcement_says_who_announces_what(frame: bytes, text: str) -> None:
    assert announcement(frame, NODES, MACS) == text


def test_announcements_are_written_on_the_frames() -> None:
    frame = FRAMES[0]._replace(data=arp(2, NODE_MAC, "172.18.255.200", "172.18.0.1"))
    _, files = plan_captures(replace(REPORT, flows=()), [frame], NODES, MACS)
    assert parse(b"".join(dict(files)[ALL_FRAMES])).comments == [["worker-1 announces 172.18.255.200"]]
