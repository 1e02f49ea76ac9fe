"""Tests expectations as a whole: every question has a promise, and it is complete."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from emulator.objects.kinds import Service
from emulator.oracle.expectations import Expectations
from tests.unit.oracle.promises import SERVICES
from tests.unit.states import (
    BOTH,
    ENDPOINT_1,
    EXTERNAL_IP,
    NODE_IP,
    NODE_PORT,
    OTHER,
    OUTSIDE,
    VIP,
    WEB_0,
    WEB_IP,
    make_endpoint,
    make_flow,
    make_service,
    make_slice,
    make_state,
    node_port_service,
)


@given(
    service=st.sampled_from(
        [
            *SERVICES.values(),
            node_port_service(internalTrafficPolicy="Local"),
            make_service(sessionAffinity="ClientIP"),
        ]
    ),
    slices=st.sampled_from([[], [BOTH], [make_slice(ENDPOINT_1)], [make_slice(make_endpoint(WEB_0))]]),
    mode=st.sampled_from(["ClusterCIDR", "NodeCIDR", "BridgeInterface", ""]),
    who=st.sampled_from(["client", "web-0", "other", "api", "worker-1", "control-plane", "client-1"]),
    ip=st.sampled_from(
        [
            WEB_IP,
            VIP,
            EXTERNAL_IP,
            WEB_0,
            OTHER,
            OUTSIDE,
            "127.0.0.1",
            "192.0.2.1",
            "10.96.9.9",
            *NODE_IP.values(),
        ]
    ),
    port=st.sampled_from([80, NODE_PORT, 8080, 6443]),
    via=st.sampled_from(["", "worker-2"]),
)
def test_every_expectation_is_complete(
    service: Service, slices: Any, mode: str, who: str, ip: str, port: int, via: str
) -> None:
    state = make_state(service, slices=slices, proxy={"localMode": mode})
    expectations = Expectations(state)
    flow = make_flow(state, who, ip, port, via=via if who == "client-1" else "")
    result = expectations.expect(flow)
    assert result == expectations.expect(flow)
    assert result.because
    assert (result.outcome == "delivered") == bool(result.backends) == bool(result.source)
    assert all(result.addresses[rule] for rule in result.backends.values())
    assert set(result.backends) <= set(expectations.may_meet(flow))
