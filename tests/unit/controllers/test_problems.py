"""Tests mistakes that only the whole cluster shows: each with its place, and all of them at once."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.controllers.settle import every_problem, settle
from emulator.errors import InputError, Problem
from emulator.load.faults import path_of, path_text
from emulator.load.load import ReadingError, load
from tests.unit.controllers.clusters import (
    cluster,
    flow_check,
    pod,
    service,
)

CONTRADICTIONS = """\
apiVersion: v1
kind: Service
metadata: {name: first}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  ports:
  - port: 80
    nodePort: 30080
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: second}
  spec:
    type: NodePort
    clusterIP: 10.96.0.10
    ports:
    - port: 80
      nodePort: 30080
    - port: 81
      name: b
      nodePort: 80
---
apiVersion: v1
kind: Service
metadata: {name: third}
spec:
  type: LoadBalancer
  clusterIP: 1.2.3.4
  sessionAffinity: ClientIP
  sessionAffinityConfig:
    clientIP:
      timeoutSeconds: 86401
  loadBalancerSourceRanges:
  - 10.0.0.0
  ports:
  - port: 80
    protocol: FOO
"""


def told(text: str) -> tuple[Problem, ...]:
    """Returns every problem of ``text``, as the command line collects them."""
    try:
        inventory = load(["-"], topologies=Path("no-topologies"), stdin=io.StringIO(text))
    except ReadingError as error:
        return every_problem(error)
    with pytest.raises(InputError) as caught:
        settle(inventory)
    return caught.value.problems


def test_contradictions_are_told_all_together_each_with_its_line() -> None:
    text = (
        "apiVersion: podwire.dev/v1alpha1\nkind: Cluster\nnetworking: {serviceSubnet: 10.96.0.0/12}\n---\n"
        + CONTRADICTIONS
    )
    assert {(p.line, p.path, p.what.partition(" (")[0][:50]) for p in told(text)} == {
        (23, "items[0].spec.clusterIP", "ClusterIP 10.96.0.10 of Service default/second is "),
        (25, "items[0].spec.ports[0].name", "is required: a Service with several ports must nam"),
        (26, "items[0].spec.ports[0].nodePort", "node port 30080/TCP of Service default/second is t"),
        (36, "spec.clusterIP", "1.2.3.4 is not in the range of serviceSubnet 10.96"),
        (40, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", "must be between 1 and 86400, is 86401"),
        (42, "spec.loadBalancerSourceRanges[0]", "must be a prefix in CIDR form, is '10.0.0.0'"),
        (45, "spec.ports[0].protocol", "must be one of TCP, UDP, SCTP, is 'FOO'"),
    }


def test_problems_come_in_the_order_of_the_lines() -> None:
    lines = [problem.line for problem in told(CONTRADICTIONS)]
    assert lines == sorted(lines)


def test_nothing_is_said_of_a_range_that_could_not_be_read() -> None:
    text = (
        cluster(serviceSubnet="10.9.0.0/4x")
        + "\n---\n"
        + service("s", "clusterIP: 10.9.0.7, ports: [{port: 80}]")
    )
    assert [problem.path for problem in told(text)] == ["networking.serviceSubnet"]


@pytest.mark.parametrize(
    ("manifests", "line"),
    [
        pytest.param([pod("p", status="podIP: 127.0.0.1")], 3, id="Pod address"),
        pytest.param(
            [
                (
                    "{apiVersion: v1, kind: Pod, metadata: {name: p, annotations: "
                    '{\n"cni.projectcalico.org/ipAddrs": x}}, spec: {containers: [{name: c}]}}'
                )
            ],
            4,
            id="an annotation that control reads",
        ),
        pytest.param([flow_check("{name: f, from: {pod: a},\nto: {pod: b, port: 80}}")], 3, id="FlowCheck"),
    ],
)
def test_a_problem_names_its_line(manifests: list[str], line: int) -> None:
    text = "\n---\n".join(
        ["{apiVersion: podwire.dev/v1alpha1, kind: Cluster, nodes: [{role: worker}]}", *manifests]
    )
    assert line in {problem.line for problem in told(text)}


def test_a_topology_in_python_names_the_call(tmp_path: Path) -> None:
    file = tmp_path / "t.py"
    file.write_text(
        '"""Why?"""\n\n\ndef build(cluster):\n    for name in "ab":\n        cluster.service(name, '
        'port=80, cluster_ip="10.96.0.9")\n'
    )
    with pytest.raises(InputError) as caught:
        settle(load([str(file)], topologies=tmp_path))
    assert [problem.line for problem in caught.value.problems] == [6]


@given(
    st.lists(
        st.one_of(st.integers(0, 99), st.from_regex(r"[A-Za-z0-9_./-]{1,20}", fullmatch=True)), min_size=1
    )
)
def test_a_path_can_be_read_back(path: list[str | int]) -> None:
    assert path_of(path_text(tuple(path))) == tuple(path)
