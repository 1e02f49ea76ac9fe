"""Tests the benchmark's own arithmetic, tables, marks and pictures; it measures nothing here."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmark import cli, clusters, floor, pod_change, scale
from benchmark.cli import Measured, read_results, write_results
from benchmark.document import BEGIN, END, compose_block, replace_figures
from benchmark.figures import Figure, Skipped, percentile
from benchmark.first_packets import CASES, STRAIGHT, pair_first_packets
from benchmark.measuring import Setting
from benchmark.tables import render
from benchmark.throughput import PLACES
from emulator.cluster.state import ClusterState
from emulator.controllers.plane import ControlPlane
from emulator.controllers.settle import play, settle
from emulator.errors import PodwireError
from emulator.model.frames import Frame
from emulator.plan.operations import ResetDevices
from emulator.proxy import rules_for
from emulator.run.clock import Clock
from emulator.schedule.planner import plan_change, plan_cluster
from tests.sandboxed import SHIPPED, state_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "figures.md"


def figure(value: float = 12, **fields: object) -> Figure:
    return Figure(**{"name": "sync", "unit": "s", "rounds": (value,), **fields})  # type: ignore[arg-type]


# --- the kernel floor
# -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("topology", SHIPPED)
def test_the_floor_knows_every_operation_of_a_plan(topology: str, tmp_path: Path) -> None:
    plan = plan_cluster(state_of(topology, proxy_mode="iptables"))
    lines = floor.describe_for_floor(plan, "iptables-restore", tmp_path).splitlines()
    assert len(lines) == sum(not isinstance(op, ResetDevices) for op in plan.operations)
    verbs = set(re.findall(r'\{"(\w+)", [A-Z]+, ', floor.SOURCE.read_text()))
    assert {line.split("\t")[0] for line in lines} <= verbs


# --- figures
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percent", "expected"),
    [(50, 2), (51, 3), (99, 4), (100, 4), (0, 1)],
)
def test_a_percentile_is_one_of_the_values(percent: float, expected: float) -> None:
    assert percentile([4, 1, 3, 2], percent) == expected


@pytest.mark.parametrize(
    ("value", "target", "met"),
    [
        (20, "≤ 20", True),
        (20.1, "≤ 20", False),
        (3000, "≥ 3000", True),
        (2999, "≥ 3000", False),
        (1, "", None),
    ],
)
def test_a_target_bounds_the_value(value: float, target: str, met: bool | None) -> None:
    assert figure(value, target=target).met is met


@pytest.mark.parametrize(("value", "met"), [(13, True), (13.1, False)])
def test_a_target_with_an_x_bounds_the_ratio(value: float, met: bool) -> None:
    assert figure(value, target="≤ 1.3 x", reference_rounds=(10, 9, 11)).met is met


def test_a_ratio_is_one_of_medians() -> None:
    assert Figure(name="", unit="s", rounds=(1, 6, 90), reference_rounds=(2, 3, 4)).ratio == 2


# --- tables
# ---------------------------------------------------------------------------------------------------


def rows(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]


def test_a_figure_of_one_run_has_a_line_of_its_own() -> None:
    text = render(
        [figure(1.25, reference_name="the floor", reference_rounds=(1.0,), target="≤ 1.2 x", note="why")],
        terminal=True,
    )
    assert rows(text)[0] == ["measured", "podwire", "reference", "ratio", "target", "note"]
    assert rows(text)[2] == ["sync", "1.25 s", "1.00 (the floor)", "1.25 x", "≤ 1.2 x MISSED", "why"]


def test_figures_that_differ_in_services_share_a_line() -> None:
    sizes = {
        1000: figure(1, services=1000),
        10: figure(0.25, services=10),
        5000: figure(1234, services=5000, tail=True),
    }
    head, _, line = rows(render(list(sizes.values())))
    assert head == ["Services", "10", "1,000", "5,000", "x is the ratio to", "target"]
    assert line == ["sync", "0.25 s", "1.00 s", "1,234 s (p99 1,234)", "", ""]


@pytest.mark.parametrize(
    ("terminal", "names"), [(True, ["sync", "first"]), (False, ["sync"])], ids=["terminal", "page"]
)
def test_a_page_leaves_to_its_charts_what_they_show(terminal: bool, names: list[str]) -> None:
    text = render([figure(services=1), figure(name="first", services=1, charted=True)], terminal=terminal)
    assert [row[0] for row in rows(text)[2:]] == names


@pytest.mark.parametrize(
    ("values", "targets", "said"),
    [
        ((10, 20), ("≤ 20", "≤ 20"), "≤ 20 met"),
        ((10, 21), ("≤ 20", "≤ 20"), "≤ 20 MISSED at 2"),
        ((21, 21), ("≤ 20", "≤ 20"), "≤ 20 MISSED at 1, 2"),
        ((90, 20), ("", "≤ 20"), "≤ 20 at 2 met"),
        ((90, 21), ("", "≤ 20"), "≤ 20 at 2 MISSED"),
        ((90, 21), ("", ""), ""),
    ],
)
def test_a_target_says_where_it_was_missed(
    values: Sequence[float], targets: Sequence[str], said: str
) -> None:
    figures = [
        figure(value, target=target, services=n)
        for n, (value, target) in enumerate(zip(values, targets, strict=True), 1)
    ]
    assert rows(render(figures))[2][-1] == said


def test_what_was_not_measured_is_named_with_the_reason() -> None:
    assert (
        render([], [Skipped("throughput", "apt-get install iperf3")])
        == "Not measured: throughput (apt-get install iperf3)."
    )


# --- docs/figures.md
# ---------------------------------------------------------------------------------------------------


def test_the_figures_have_their_marks() -> None:
    text = DOCUMENT.read_text()
    assert replace_figures(replace_figures(text, "new"), text.partition(BEGIN)[2].partition(END)[0]) == text


def test_what_is_around_the_marks_stays() -> None:
    assert replace_figures(f"a\n{BEGIN}\nold\n{END}\nb\n", "new\n") == f"a\n{BEGIN}\nnew\n{END}\nb\n"


@pytest.mark.parametrize(
    "text", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"]
)
def test_other_marks_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must have these lines once"):
        replace_figures(text, "new")


@pytest.mark.parametrize(
    ("rounds", "said"),
    [
        ({"cold": 3, "packets": 3}, "; rounds: 3."),
        ({"cold": 3, "packets": 1}, "; rounds: 3 (cold); rounds: 1 (packets)."),
    ],
)
def test_the_block_says_on_what_and_how_often(rounds: dict[str, int], said: str) -> None:
    block = compose_block(
        {"cores": "2", "kernel": "6.18"}, rounds, [figure()], [], {"docs/a.svg": "what a is"}
    )
    assert block.splitlines()[0] == "Measured on: cores 2, kernel 6.18" + said
    assert block.splitlines()[-1] == "![what a is](docs/a.svg)"


# --- kept results
# ---------------------------------------------------------------------------------------------


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    measured = {
        "cold": Measured(
            2,
            (figure(target="≤ 4", services=3, tail=True),),
            (Skipped("Mininet", "it needs root"),),
            "it ended",
        )
    }
    write_results(tmp_path / "bench.json", {"cores": "2"}, measured)
    assert read_results(tmp_path / "bench.json", {"cores": "2"}) == measured
    assert read_results(tmp_path / "bench.json", {"cores": "4"}) == {}
    assert read_results(tmp_path / "none.json", {"cores": "2"}) == {}


def test_results_of_another_version_are_forgotten(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text('{"machine": {"cores": "2"}, "results": []}')
    assert read_results(tmp_path / "bench.json", {"cores": "2"}) == {}


def test_a_measurement_that_fails_keeps_what_it_had_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Setting) -> Iterator[Figure]:
        yield figure()
        raise PodwireError("line one " + "\n" * 3000)

    monkeypatch.setitem(cli.MEASUREMENTS, "cold", fail)
    measured = cli.measure("cold", Setting(rounds=1, services=(), directory=tmp_path, iptables=""))
    assert measured.figures == (figure(),)
    assert measured.failure.startswith("PodwireError: line one")
    assert len(measured.failure) == cli.LONGEST_FAILURE


# --- clusters
# -------------------------------------------------------------------------------------------------


def settled(tmp_path: Path, documents: object) -> ClusterState:
    return settle(clusters.read(clusters.write(tmp_path / "manifests.yaml", documents)))  # type: ignore[arg-type]


def test_the_service_that_is_called_last_has_the_last_rule(tmp_path: Path) -> None:
    state = settled(tmp_path, clusters.many_services_with_pods(9, [0, 4, 8]))
    chain = rules_for(state, clusters.NODE).tables["nat"]["KUBE-SERVICES"]
    order = [name for rule in chain for name in re.findall(r"default/(svc-\d+) cluster IP", rule)]
    assert order == [clusters.service_name(number) for number in range(9)]


def test_the_services_that_are_dialled_have_the_pods_behind_them(tmp_path: Path) -> None:
    state = settled(tmp_path, clusters.many_services_with_pods(5, [0, 2, 4]))
    served = {
        key: {
            state.pod_by_ip[ip].name
            for item in slices
            for endpoint in item.endpoints
            for ip in endpoint.addresses
            if ip in state.pod_by_ip
        }
        for key, slices in state.slices_of.items()
    }
    assert {key: names for key, names in served.items() if names} == {
        f"default/svc-{n}": set(clusters.BACKENDS) for n in (0, 2, 4)
    }


def test_a_changed_service_is_the_only_difference(tmp_path: Path) -> None:
    state = settled(tmp_path, clusters.many_services(5))
    without = clusters.without_service(state, "default/svc-2")
    moved = clusters.with_other_endpoint(state, "default/svc-2", "10.129.255.254")
    assert {s.name for s in state.services} - {s.name for s in without.services} == {"svc-2"}
    assert len(state.endpointSlices) - len(without.endpointSlices) == 1
    for change in (plan_change(state, without), plan_change(state, moved), plan_change(without, state)):
        assert {type(op).__name__ for op in change.operations} == {"ChangeRules"}


# --- first packets
# --------------------------------------------------------------------------------------------


def syn(time: int, netns: str, outgoing: bool, flags: str = "S") -> Frame:
    addresses = ("10.0.0.1", 1000, "10.0.0.2", 80)
    return Frame(0, time, netns, "eth0", outgoing, "TCP", *addresses, 64, flags, 0, False, 60)


def test_a_syn_is_paired_with_its_arrival() -> None:
    frames = [
        *(
            syn(1000, "client", True),
            syn(6000, "server", False),
            syn(7000, "server", True, "SA"),
            syn(8000, "client", False, "SA"),
        ),
        *(syn(20000, "client", True), syn(41500, "other-server", False)),
    ]
    assert pair_first_packets(frames, "client") == [5.0, 21.5]


def test_a_syn_that_does_not_arrive_is_no_figure() -> None:
    with pytest.raises(PodwireError, match="did not arrive"):
        pair_first_packets([syn(1, "client", True), syn(2, "client", True)], "client")


# --- charts
# ---------------------------------------------------------------------------------------------------


def packets() -> list[Figure]:
    return [
        Figure(
            name=f"first packet, {mode}: {case}",
            unit="µs",
            rounds=(5.0 + size, 9.0 + size),
            services=size,
            mode=mode,
            case=case,
            tail=True,
        )
        for mode in ("iptables", "nftables")
        for case in (STRAIGHT, *CASES)
        for size in (1, 1000)
    ]


def streams() -> list[Figure]:
    return [
        Figure(name="iperf3", unit="Gbit/s", rounds=(9.0,), reference_rounds=(10.0,), mode=mode, case=place)
        for mode in ("iptables", "ipvs in user-mode Linux")
        for place in PLACES.values()
    ]


@pytest.mark.parametrize(
    ("draw", "figures"),
    [("draw_first_packets", packets()), ("draw_throughput", streams())],
    ids=["first packets", "throughput"],
)
def test_a_chart_is_reproducible_named_and_small(draw: str, figures: list[Figure]) -> None:
    pytest.importorskip(
        "matplotlib", reason="matplotlib is there where scripts/with-env has run scripts/bench"
    )
    from benchmark import charts

    svg = getattr(charts, draw)(figures)
    assert getattr(charts, draw)(figures) == svg
    assert len(svg) < 40_000
    assert "date" not in svg
    root = ET.fromstring(svg)  # noqa: S314 - ours
    assert [child.tag.rpartition("}")[2] for child in root][:3] == ["title", "desc", "style"]
    assert root.attrib["role"] == "img"
    assert "iptables" in "".join(root.itertext())


def test_growth_is_the_exponent_between_the_smallest_and_the_largest() -> None:
    small = scale.Run(10, {"build": 1.0, "probe": 2.0, "taps": 0.01}, 100, 0)
    large = scale.Run(50, {"build": 16.0, "probe": 8.0, "taps": 5.0}, 400, 0)
    found = {figure.name: figure for figure in scale.exponents("Pods", 1000, 4000, small, large)}
    assert [
        round(found[f"growth from 1,000 to 4,000 Pods: {phase}"].value, 6)
        for phase in ("build", "probe", "memory")
    ] == [2, 1, 1]
    assert found["growth from 1,000 to 4,000 Pods: build"].met is False
    assert "growth from 1,000 to 4,000 Pods: taps" not in found, "a hundredth of a second says nothing"


def test_phases_are_read_from_what_verbose_says() -> None:
    clock = Clock(phases={"plan": 0.28, "build": 2.51, "tear-down": 0.49})
    assert scale.read_phases(f"podwire: {clock}") == {"plan": 0.28, "build": 2.51, "tear-down": 0.49}


def test_the_clusters_of_the_scale_measurement_are_as_large_as_they_say(tmp_path: Path) -> None:
    state = settle(clusters.read(clusters.write(tmp_path / "c.yaml", clusters.many(30, 4, 10))))
    own = [service for service in state.services if service.name != "kubernetes"]
    assert (sum(not pod.spec.hostNetwork for pod in state.pods), len(state.nodes), len(own)) == (30, 4, 10)
    assert all(len(state.slices_of[service.key][0].endpoints) == 3 for service in own)
    steps = play(clusters.read(clusters.write(tmp_path / "s.yaml", clusters.scaled_in_steps(7)))).steps
    assert [sum(pod.name.startswith("web-") for pod in step.state.pods) for step in steps] == [
        1,
        8,
        15,
        2,
        9,
        16,
        3,
    ]


def test_the_pod_that_is_measured_changes_one_slice_and_the_rules_of_every_node(tmp_path: Path) -> None:
    source = clusters.read(clusters.write(tmp_path / "c.yaml", clusters.many(30, 4, 10)))
    plane = ControlPlane(source, proxy_mode="nftables")
    plane.reconcile()
    old = plane.snapshot()
    pod_change.set_ready(plane, "p15", ready=False)
    plane.reconcile()
    new = plane.snapshot()
    changed = [
        b.serviceName for a, b in zip(old.endpointSlices, new.endpointSlices, strict=True) if a is not b
    ]
    assert changed == ["s5"]
    assert {op.netns for op in plan_change(old, new).operations} == set(new.node)
