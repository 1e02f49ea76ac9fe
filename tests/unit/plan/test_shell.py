"""Tests the script of a plan: its text, and that nothing in it can become a command or an option."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest

from emulator.net import IPV4
from emulator.objects.config import IPVSTimeouts
from emulator.plan.checked import UnsafeTextError
from emulator.plan.ipvs import AddressSet, RealServer, VirtualServer
from emulator.plan.operations import (
    AddAddress,
    AddDummy,
    AddNetns,
    AddVeth,
    LoadIpset,
    LoadIpvs,
    LoadRules,
    Operation,
    Plan,
    SetSysctl,
)
from emulator.plan.rules import RuleSet
from emulator.plan.shell import render_shell
from tests.small_plan import PLAN

VETH = next(op for op in PLAN.operations if isinstance(op, AddVeth))


def script_of(*operations: Operation, title: str = "test") -> str:
    return render_shell(Plan(name="test", operations=operations), title=title)


def check_syntax(script: str) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=script, capture_output=True, text=True, timeout=10, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_script_of_every_kind_of_operation(golden: Callable[[str, str], None]) -> None:
    script = render_shell(PLAN, title="topology small")
    check_syntax(script)
    golden("small-plan.sh.txt", script)


def test_a_note_is_a_comment() -> None:
    script = render_shell(PLAN, title="x", note="alike\nreboot")
    assert "\n# alike\\nreboot\n" in script
    check_syntax(script)


def test_operations_for_one_reason_share_a_comment() -> None:
    script = script_of(
        AddNetns(netns="a", why="twins"),
        AddNetns(netns="b", why="twins"),
        AddNetns(netns="c", why="a single"),
    )
    assert script.count("# twins") == 1
    assert (
        script.index("# twins") < script.index("add b") < script.index("# a single") < script.index("add c")
    )


@pytest.mark.parametrize(
    "hostile",
    ["-x", "--all", "a b", "a;reboot", "$(reboot)", "a\nreboot", "", "../a", "a/../../b", "a'b"],
)
@pytest.mark.parametrize(
    "make",
    [
        lambda text: AddNetns(netns=text, why="w"),
        lambda text: replace(VETH, name=text),
        lambda text: replace(VETH, peer=text),
        lambda text: replace(VETH, peer_netns=text),
        lambda text: LoadRules(netns=text, tool="nft", family=IPV4, rules=RuleSet({}), why="w"),
    ],
    ids=["netns", "device", "peer", "peer-netns", "rules-netns"],
)
def test_hostile_names_are_refused(make: Callable[[str], Operation], hostile: str) -> None:
    with pytest.raises(UnsafeTextError):
        script_of(make(hostile))


@pytest.mark.parametrize("hostile", ["-4", "10.0.0.1/8 peer 1.2.3.4", "`id`", "10.0.0.1\n"])
def test_hostile_addresses_are_refused(hostile: str) -> None:
    with pytest.raises(UnsafeTextError):
        script_of(AddAddress(netns="a", dev="eth0", address=hostile, why="w"))


def test_a_sysctl_value_is_one_word() -> None:
    script = script_of(SetSysctl(netns="a", key="net.ipv4.ip_forward", value="1; reboot", why="w"))
    assert "net.ipv4.ip_forward='1; reboot'" in script


@pytest.mark.parametrize("rule", ["-j ACCEPT\nPODWIRE_EOF\nreboot", "a\0b"])
def test_rules_cannot_end_their_here_document(rule: str) -> None:
    with pytest.raises(UnsafeTextError):
        script_of(
            LoadRules(
                netns="a",
                tool="iptables-restore",
                family=IPV4,
                rules=RuleSet({"nat": {"OUTPUT": (rule,)}}),
                why="w",
            )
        )


def test_reasons_and_title_stay_comments() -> None:
    script = script_of(AddNetns(netns="a", why="one\nreboot"), title="two\nreboot\x1b[2J")
    assert "reboot" not in [line.strip() for line in script.splitlines()]
    assert "\x1b" not in script
    check_syntax(script)


def test_ipvs_is_loaded_by_the_tools_of_its_own() -> None:
    web = VirtualServer(
        protocol="UDP",
        ip="10.96.0.10",
        port=53,
        scheduler="rr",
        persistence=60,
        servers=(RealServer("10.244.1.2", 5353),),
    )
    names = AddressSet(
        name="KUBE-CLUSTER-IP", kind="hash:ip,port", family=IPV4, entries=("10.96.0.10,udp:53",)
    )
    script = script_of(
        AddDummy(netns="a", name="kube-ipvs0", why="a dummy"),
        LoadIpset(netns="a", sets=(names,), why="sets"),
        LoadIpvs(netns="a", servers=(web,), why="servers"),
    )
    check_syntax(script)
    assert "\n[[ -e /proc/net/ip_vs ]] || modprobe ip_vs\n" in script
    assert "ip -n a link add name kube-ipvs0 type dummy\n" in script
    assert "ip netns exec a ipset -exist restore <<" in script
    assert "\nflush KUBE-CLUSTER-IP\nadd KUBE-CLUSTER-IP 10.96.0.10,udp:53\n" in script
    assert "ip netns exec a ipvsadm -C\nip netns exec a ipvsadm -R <<" in script
    assert "\n-A -u 10.96.0.10:53 -s rr -p 60\n-a -u 10.96.0.10:53 -r 10.244.1.2:5353 -m -w 1\n" in script


def test_time_outs_of_ipvs_are_set() -> None:
    assert "\nip netns exec a ipvsadm --set 900 0 1\n" in script_of(
        LoadIpvs(netns="a", servers=(), why="servers", timeouts=IPVSTimeouts(tcp=900, udp=1))
    )
    assert "--set" not in script_of(LoadIpvs(netns="a", servers=(), why="servers"))


def test_a_scheduler_that_looks_at_ports_is_told_so() -> None:
    web = VirtualServer(protocol="TCP", ip="10.96.0.10", port=80, scheduler="mh")
    assert "\n-A -t 10.96.0.10:80 -s mh -b mh-port\n" in script_of(
        LoadIpvs(netns="a", servers=(web,), why="servers")
    )


def test_a_server_s_address_is_one() -> None:
    web = VirtualServer(protocol="TCP", ip="10.96.0.10 -x", port=80, scheduler="rr")
    with pytest.raises(UnsafeTextError):
        script_of(LoadIpvs(netns="a", servers=(web,), why="servers"))


def test_changes_come_under_their_titles_after_what_they_change() -> None:
    first, second = AddNetns(netns="a", why="first"), AddNetns(netns="b", why="second")
    lines = render_shell(
        Plan(name="x", operations=(first,)),
        title="t",
        changes=[("a step\nrm -rf /", Plan(name="y", operations=(second,)))],
    ).splitlines()
    assert [
        line for line in lines if line in ("ip netns add a", "# a step\\nrm -rf /", "ip netns add b")
    ] == [
        "ip netns add a",
        "# a step\\nrm -rf /",
        "ip netns add b",
    ]
