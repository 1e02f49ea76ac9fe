"""Tests a run's needs of the machine, known from its schedule: rings for the frames that pass, and no
more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from emulator.cluster.scenario import Scenario
from emulator.cluster.state import SWITCH, ClusterState, pod_netns
from emulator.schedule.needs import needs_bare_segments, ring_slots, slot_width
from emulator.schedule.schedule import Schedule, plan_flows, plan_schedule
from tests.unit.controllers.clusters import settled


def cluster(pods: int, services: int, nodes: int = 3, extra: Sequence[str] = ()) -> ClusterState:
    """Returns one Pod after the other on the workers in turn; each Service has some of them."""
    roles = ", ".join(["{role: control-plane}", *["{role: worker}"] * (nodes - 1)])
    documents = [
        (
            f"apiVersion: podwire.dev/v1alpha1\nkind: Cluster\nnodes: [{roles}]\nexternalClients: "
            f"[{{name: c, address: 203.0.113.10}}]"
        )
    ]
    for number in range(pods):
        documents.append(
            f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}, labels: {{app: "
            f"a{number % max(1, services)}}}}}\n"
            f"spec: {{nodeName: worker-{number % (nodes - 1) + 1}, containers: [{{name: c, ports: "
            f"[{{containerPort: 8080}}]}}]}}"
        )
    for number in range(services):
        documents.append(
            f"apiVersion: v1\nkind: Service\nmetadata: {{name: s{number}}}\n"
            f"spec: {{selector: {{app: a{number}}}, ports: [{{port: 80, targetPort: 8080}}]}}"
        )
    return settled(*documents, *extra, run=True)


def schedule_of(state: ClusterState, *, pairs: bool = False) -> Schedule:
    scenario = Scenario(state=state)
    flows, promise = plan_flows(scenario, pairs=pairs)
    return plan_schedule(scenario, flows, promise, pairs=pairs)


def names_of(state: ClusterState) -> list[str]:
    return [SWITCH, "router", *state.node, *state.client, *(pod_netns(pod) for pod in state.pods)]


def test_the_pod_that_dials_every_service_has_room_for_all_that_it_hears() -> None:
    state = cluster(pods=400, services=300)
    schedule = schedule_of(state)
    slots = ring_slots(
        schedule, names_of(state) + [f"idle-{number}" for number in range(20000)], 512
    )  # so many that none has room to spare
    asks = max(
        state.pods,
        key=lambda pod: sum(flow.attempts for flow in schedule.flows if flow.client.netns == pod_netns(pod)),
    )
    attempts = sum(flow.attempts for flow in schedule.flows if flow.client.netns == pod_netns(asks))
    assert attempts > 200
    assert slots[pod_netns(asks)] >= min(8192, 8 * attempts)
    assert slots["idle-1"] == 32


def test_few_namespaces_have_room_to_spare() -> None:
    state = cluster(pods=4, services=1)
    slots = ring_slots(schedule_of(state), [*names_of(state), "idle"], 512)
    assert slots["idle"] == 512 == min(slots.values())


def test_a_node_that_no_flow_passes_has_no_larger_ring_than_a_pod() -> None:
    state = cluster(pods=4, services=0, nodes=40)
    slots = ring_slots(schedule_of(state), names_of(state), 512)
    assert slots["worker-1"] > slots["worker-30"] == 512


def test_all_rings_together_take_half_a_gibibyte_at_most() -> None:
    state = cluster(pods=100, services=1)
    schedule = schedule_of(state, pairs=True)
    slots = ring_slots(schedule, names_of(state), 4096)
    assert sum(slots.values()) * 4096 <= 512 << 20
    assert min(slots.values()) >= 32


def test_a_slot_holds_the_answer_of_who_has_the_longest_name() -> None:
    state = cluster(pods=2, services=1)
    assert slot_width(schedule_of(state)) == 512
    name = ".".join(["n" * 63] * 3) + "." + "n" * 50
    spec = "{nodeName: worker-1, containers: [{name: c, ports: [{containerPort: 1}]}]}"
    pod = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {spec}"
    assert slot_width(schedule_of(cluster(pods=2, services=1, extra=[pod]))) == 1024


def test_a_slot_holds_a_whole_packet_where_a_real_command_runs() -> None:
    pod = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: real, annotations: {podwire.dev/run: c}}\n"
        "spec: {nodeName: worker-1, containers: [{name: c, command: [sleep, '9'], ports: "
        "[{containerPort: 1}]}]}"
    )
    assert slot_width(schedule_of(cluster(pods=2, services=1, extra=[pod]))) == 2048


def test_bare_segments_are_needed_where_an_end_of_a_connection_tells_something() -> None:
    state = cluster(pods=2, services=1)
    assert not needs_bare_segments(schedule_of(state))
    relayed = replace(state, proxy=replace(state.proxy, mode="userspace"))
    assert needs_bare_segments(schedule_of(relayed))
    assert needs_bare_segments(schedule_of(replace(state, commands={"default/p0": ("c",)})))
    schedule = schedule_of(state)
    kept = replace(schedule, flows=(*schedule.flows, replace(schedule.flows[0], connection="kept")))
    assert needs_bare_segments(kept)
