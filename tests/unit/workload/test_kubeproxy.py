"""Tests the configuration that a real kube-proxy gets, and how its rules are recognised."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from emulator.cluster.state import Program
from emulator.errors import UsageError
from emulator.objects.config import IPVSTimeouts
from emulator.workload.kubeproxy import KubeProxy, Mark, check_mode, configuration
from tests.conftest import GOLDEN
from tests.objects import golden_state

DIRECTORY = GOLDEN / "kube-proxy-v1.30.5"
PROGRAM = Program("/opt/kube-proxy", "v1.37.2")

IPTABLES = """\
-A KUBE-SEP-X -p tcp -m comment --comment "podwire/sync" -m tcp -j DNAT --to-destination 192.0.2.2:{endpoint}
-A KUBE-SERVICES -d 192.0.2.1/32 -p tcp -m comment --comment "x" -m tcp --dport {service} -j KUBE-SVC-X
"""
NFTABLES = """\
elements = { 10.96.0.1 . tcp . 443 : goto service-A, 192.0.2.1 . tcp . %(service)s : goto service-B }
meta l4proto tcp dnat ip to numgen random mod 1 map { 0 : 192.0.2.2 . %(endpoint)s }
"""
# before its maps of endpoints: a chain for each
NFTABLES_OLD = """\
elements = { 192.0.2.1 . tcp . %(service)s : goto service-B }
chain endpoint-AAAAAAAA-podwire/sync/tcp/__192.0.2.2/%(endpoint)s {
"""
IPVS = "-A -t 192.0.2.1:{service} -s rr\n-a -t 192.0.2.1:{service} -r 192.0.2.2:{endpoint} -m -w 1\n"


@pytest.mark.parametrize("form", [IPTABLES, NFTABLES, NFTABLES_OLD, IPVS])
@pytest.mark.parametrize(
    ("service", "endpoint", "there"),
    [(8, 8, True), (7, 8, False), (8, 7, False), (80, 8, False), (8, 80, False)],
)
def test_rules_are_of_a_mark_when_its_service_and_its_endpoint_are_there(
    form: str, service: int, endpoint: int, there: bool
) -> None:
    ports = {"service": service, "endpoint": endpoint}
    rules = form % ports if "%(" in form else form.format(**ports)
    assert Mark(7).port == 8
    assert Mark(7).is_in(rules) is there


def test_a_mark_has_a_port_whatever_its_number() -> None:
    assert {Mark(number).port for number in range(65535)} == set(range(1, 65536))
    assert Mark(65535) != Mark(0)
    assert Mark(65535).port == Mark(0).port


def test_the_configuration_has_the_settings_of_the_rules() -> None:
    state = golden_state(
        DIRECTORY,
        mode="nftables",
        masqueradeAll=True,
        nodePortAddresses=("172.18.0.0/16",),
        localhostNodePorts=False,
        ipvsTimeouts=IPVSTimeouts(tcp=900),
    )
    found = configuration(state, "worker-1", "")
    assert found["mode"] == "nftables"
    assert found["hostnameOverride"] == "worker-1"
    assert (found["clusterCIDR"], found["detectLocalMode"]) == ("10.244.0.0/16", "ClusterCIDR")
    assert found["nodePortAddresses"] == ["172.18.0.0/16"]
    assert found["iptables"] == {"masqueradeAll": True, "localhostNodePorts": False}
    assert found["nftables"] == {"masqueradeAll": True}
    assert found["ipvs"]["tcpTimeout"] == "900s"
    assert found["conntrack"]["maxPerCore"] == found["conntrack"]["min"] == 0


def test_without_a_detector_it_has_no_cluster_cidr() -> None:
    found = configuration(golden_state(DIRECTORY, localMode="", clusterCIDR=""), "worker-1", "")
    assert (found["clusterCIDR"], found["detectLocalMode"]) == ("", "ClusterCIDR")


def test_the_pace_is_that_of_every_mode() -> None:
    found = configuration(golden_state(DIRECTORY), "worker-1", "10ms")
    assert found["iptables"]["minSyncPeriod"] == found["nftables"]["minSyncPeriod"] == "10ms"


def test_a_mode_without_a_release_is_refused() -> None:
    check_mode(golden_state(DIRECTORY, mode="userspace"))
    check_mode(golden_state(DIRECTORY, mode="ipvs", program=PROGRAM))
    with pytest.raises(UsageError, match=r"no mode userspace since v1.26.*iptables, nftables, ipvs"):
        check_mode(golden_state(DIRECTORY, mode="userspace", program=PROGRAM))


def test_an_end_is_told_with_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(20)) + "\x1b[31mred\n\n")
    process = subprocess.Popen(["sh", "-c", "exit 3"])
    process.wait()
    told = KubeProxy("worker-1", process, "kube-proxy --config=x", log).how_it_ended()
    first, *lines = told.split("\n")
    assert first == "kube-proxy on worker-1 has ended with exit code 3 (kube-proxy --config=x)"
    assert lines == ["  its last lines:", *(f"  line {number}" for number in range(13, 20)), "  \\x1b[31mred"]
