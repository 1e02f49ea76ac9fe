"""Tests servers outside the cluster: declared, named, dialled, and the message where one is missing."""

from __future__ import annotations

import pytest

from emulator.errors import InputError
from emulator.flows.derive import derive_flows
from emulator.model.results import NodeRow
from emulator.oracle.expectations import Expectations
from emulator.report.describe import describe_nodes
from tests.sandboxed import state_of
from tests.told import told

CLUSTER = """
apiVersion: podwire.dev/v1alpha1
kind: Cluster
nodes: [{role: control-plane}, {role: worker}]
externalServers: %s
---
apiVersion: v1
kind: Pod
metadata: {name: app}
spec: {containers: [{name: app}]}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {ports: [{port: 5432}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: db}
subsets: [{addresses: [{ip: 192.0.2.10}], ports: [{port: 5432}]}]
"""
DB = "{name: db, address: 192.0.2.10, ports: [{port: 5432}, {port: 53, protocol: UDP}]}"


def test_a_server_outside_is_dialled_and_answers_its_service() -> None:
    state = state_of(text=CLUSTER % f"[{DB}]")
    assert [client.name for client in state.clients] == ["client-1", "db"]
    assert NodeRow(name="db", roles=("external server",), addresses=("192.0.2.10",)) in describe_nodes(state)
    assert told(state) == ()
    expectations = Expectations(state)
    flows = {flow.name: expectations.expect(flow) for flow in derive_flows(state)}
    assert {"pod default/app → external db:5432", "pod default/app → external db:53 (UDP)"} <= flows.keys()
    service = flows["pod default/app → svc default/db:5432 (node without an endpoint)"]
    assert (service.outcome, {str(b): rule for b, rule in service.backends.items()}) == (
        "delivered",
        {"192.0.2.10:5432": "node"},
    )


def test_an_endpoint_outside_without_a_server_is_said_to_need_one() -> None:
    [notice] = told(state_of(text=CLUSTER % "[]"))
    assert (
        "Service default/db has the endpoint 192.0.2.10 outside the cluster, where no server is "
        "declared: declare"
    ) in notice


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        (
            "addresses: [{ip: 192.0.2.10}], notReadyAddresses: [{ip: 192.0.2.11}]",
            "the endpoint 192.0.2.10 outside",
        ),
        (
            "addresses: [{ip: 192.0.2.10}, {ip: 192.0.2.11}]",
            "the endpoints 192.0.2.10 and 192.0.2.11 outside",
        ),
        (
            "addresses: [{ip: 192.0.2.10}, {ip: 192.0.2.11}, {ip: 192.0.2.12}, {ip: 192.0.2.13}]",
            "the endpoints 192.0.2.10, 192.0.2.11, 192.0.2.12 and 1 more outside",
        ),
    ],
)
def test_endpoints_outside_are_named_that_are_used(addresses: str, said: str) -> None:
    [notice] = told(state_of(text=CLUSTER.replace("addresses: [{ip: 192.0.2.10}]", addresses) % "[]"))
    assert f"Service default/db has {said} the cluster, where no server is declared" in notice


def test_an_endpoint_outside_that_is_not_ready_needs_no_server() -> None:
    text = CLUSTER.replace("addresses: [{ip: 192.0.2.10}]", "notReadyAddresses: [{ip: 192.0.2.10}]")
    assert not any("outside the cluster" in text for text in told(state_of(text=text % "[]")))


CHECK = """---
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: c}
spec: {flows: [{name: f, from: {pod: app}, to: {external: %s, port: %s}}]}
"""


@pytest.mark.parametrize(
    ("servers", "check", "what"),
    [
        ("[{name: db, address: 192.0.2.10}]", "", "externalServers[0].ports: is required"),
        (
            f"[{DB}, {{name: db, address: 192.0.2.11, ports: [{{port: 1}}]}}]",
            "",
            "externalServers[1].name: 'db' is the name of an earlier",
        ),
        (
            "[{name: db, address: 10.244.0.9, ports: [{port: 1}]}]",
            "",
            "externalServers[0].address: 10.244.0.9 of external server db lies in",
        ),
        (
            "[{name: db, address: 192.0.2.10, ports: [{port: 1}, {port: 1}]}]",
            "",
            "externalServers[0].ports[1]: '1/TCP' is the port of an",
        ),
        (f"[{DB}]", CHECK % ("db", 80), "to.port: db serves no 80/TCP"),
        (f"[{DB}]", CHECK % ("dp", 80), "to.external: there is no machine outside the cluster dp"),
        (f"[{DB}]", CHECK % ("db", "web"), "to.port: 'web' must be a number"),
    ],
)
def test_what_is_wrong_with_a_server_is_said_where_it_stands(servers: str, check: str, what: str) -> None:
    with pytest.raises(InputError) as error:
        state_of(text=CLUSTER % servers + check)
    assert what in str(error.value)
