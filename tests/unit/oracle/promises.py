"""Provides what the tests of expectations share: the two endpoints of ``web``, the Services that they dial,
and the expectations of both.
"""

from __future__ import annotations

from typing import Any

from emulator.cluster.state import ClusterState
from emulator.model.expectations import Expectation
from emulator.net import Endpoint
from emulator.oracle.expectations import expect
from tests.unit.states import (
    BRIDGE_IP,
    EXTERNAL_IP,
    NODE_IP,
    NODE_PORT,
    VIP,
    WEB_0,
    WEB_1,
    WEB_IP,
    load_balancer_service,
    make_flow,
    make_pod,
)

ON_1, ON_2 = Endpoint.of(WEB_0, 8080), Endpoint.of(WEB_1, 8080)
WORKER_1 = frozenset({NODE_IP["worker-1"], BRIDGE_IP["worker-1"]})
WORKER_2 = frozenset({NODE_IP["worker-2"], BRIDGE_IP["worker-2"]})
HOSTED = (make_pod("host", "worker-1", ports=[8080]),)


def promised(state: ClusterState, who: str, ip: str, port: int, **more: Any) -> Expectation:
    return expect(state, make_flow(state, who, ip, port, **more))


def sources(expectation: Expectation) -> dict[str, frozenset[str]]:
    """Returns, per backend address, the addresses that it may see."""
    return {str(backend): expectation.addresses[rule] for backend, rule in expectation.backends.items()}


LOCAL = {"externalTrafficPolicy": "Local"}
SERVICES = {
    "Cluster": load_balancer_service(externalIPs=(EXTERNAL_IP,)),
    "Local": load_balancer_service(externalIPs=(EXTERNAL_IP,), **LOCAL),
}
DIALLED = {
    "clusterIP": (WEB_IP, 80),
    "nodePort": (NODE_IP["worker-1"], NODE_PORT),
    "externalIP": (EXTERNAL_IP, 80),
    "loadBalancer": (VIP, 80),
}
