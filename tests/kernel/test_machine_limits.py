"""Tests that a limit of the machine makes no verdict wrong: counters as the kernel has them, and a run beside
a neighbour table that is full.
"""

from __future__ import annotations

import json
import shlex
import socket
import sys

import pytest

from emulator.kernel.counters import read_machine, read_namespace, read_settings
from emulator.kernel.netns import Namespaces
from emulator.run.watch import Watch
from emulator.verdicts.limits import LIMITS, find_reached
from tests.guest import uml, with_guest
from tests.sandboxed import in_sandbox

pytestmark = pytest.mark.kernel


def test_every_limit_of_the_table_can_be_read_here() -> None:
    """Reads the machine's first network namespace, or the one that the tests run in."""
    assert {
        name for limit in LIMITS if limit.place == "machine" for name in limit.counters
    } <= read_machine().keys()
    assert read_settings()["net.ipv4.neigh.default.gc_thresh3"].isdigit()


@in_sandbox
def test_a_datagram_that_finds_no_room_is_told_of_its_namespace() -> None:
    namespaces = Namespaces()
    namespaces.create("full")
    namespaces.call_in("full", _bring_up_lo)
    namespaces.create("empty")
    watch = Watch(namespaces, {})
    assert {
        name for limit in LIMITS if limit.place == "namespace" for name in limit.counters
    } <= namespaces.call_in("full", read_namespace).keys()
    namespaces.call_in("full", _overflow)
    watch.look()
    (reached,) = watch.look_into("full")
    assert (reached.limit.setting, reached.netns) == ("net.core.rmem_default", "full")
    assert reached.times > 50
    assert watch.look_into("empty") == ()
    watch.look()
    assert watch.look_into("full") == ()


def _bring_up_lo() -> None:
    from emulator.kernel import netlink

    netlink.NetlinkSocket().send([netlink.link_up(1)])


def _overflow() -> None:
    """Sends 100 datagrams to a socket that has room for one."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        server.bind(("127.0.0.1", 0))
        for _ in range(100):
            client.sendto(bytes(1000), server.getsockname())


@pytest.mark.slow
@with_guest
def test_a_full_neighbour_table_makes_verdicts_unknown_and_never_wrong() -> None:
    """Runs in a guest, so that no other run loses packets: topologies whose load-balancer addresses are asked
    for by ARP.
    """
    python = shlex.quote(sys.executable)
    commands = f"""
        coproc {python} -m tests.kernel.full_neighbour_table && read line <&${{COPROC[0]}} || exit
        for topology in three-networks l2-announcement; do {python} run_topology.py $topology --captures \
none -o json; done
        kill $COPROC_PID"""
    done = uml("bash", "-c", commands, seconds=120)
    reports, text = [], done.stdout.decode().strip()
    while text:
        report, end = json.JSONDecoder().raw_decode(text)
        reports.append(report)
        text = text[end:].strip()
    default, announced = reports
    for report in reports:
        assert report["summary"]["fail"] == 0, done.stderr
        (notice,) = (notice for notice in report["notices"] if "neighbour table" in notice)
        assert "gc_thresh3 = 40" in notice
    doubted = [flow for flow in default["flows"] if flow["verdict"] == "unknown"]
    assert {flow["expected"]["outcome"] for flow in doubted} == {"dropped"}, (
        "what is answered needs no entry that was learnt"
    )
    assert announced["summary"]["unknown"] >= 3


def test_the_limit_of_one_place_is_not_looked_for_in_another() -> None:
    everything = {name: 1 for limit in LIMITS for name in limit.counters}
    for netns, place in (("", "machine"), ("worker-1", "namespace")):
        assert {reached.limit.place for reached in find_reached({}, everything, {}, netns)} == {place}
