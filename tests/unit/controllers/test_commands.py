"""Tests the choice of containers that run their real command, and the notices about them."""

from __future__ import annotations

import pytest

from emulator.cluster.state import ClusterState
from emulator.errors import InputError, Problem
from tests.told import noticed
from tests.unit.controllers.clusters import (
    cluster,
    flow_check,
    service,
    settled,
    workload,
)
from tests.unit.controllers.test_listeners import pod_of, rows

ONE = cluster("{role: control-plane}, {role: worker}")
RUN = "annotations: {podwire.dev/run: '%s'}"
TWO = (
    "{name: a, command: [sleep, '1'], ports: [{containerPort: 80}]}, {name: b, command: [sh], ports: "
    "[{containerPort: 81}]}"
)


def running(*manifests: str) -> ClusterState:
    return settled(*manifests, run=True)


def problem_of(*manifests: str) -> Problem:
    with pytest.raises(InputError) as caught:
        running(*manifests)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("wish", "commands", "listening"),
    [("a", ("a",), [81]), (" b , a", ("b", "a"), []), ("*", ("a", "b"), []), ("", (), [80, 81])],
)
def test_containers_with_their_real_command_have_no_listener(
    wish: str, commands: tuple[str, ...], listening: list[int]
) -> None:
    state = running(ONE, pod_of(TWO, meta=RUN % wish))
    assert state.commands == ({"default/p": commands} if commands else {})
    assert [row[2] for row in rows(state)] == listening


@pytest.mark.parametrize("wish", ["a", "*", "nobody"])
def test_unless_the_user_allows_it_the_annotation_changes_nothing(wish: str) -> None:
    state = settled(ONE, pod_of(TWO, meta=RUN % wish))
    assert state.commands == {}
    assert [row[2] for row in rows(state)] == [80, 81]


def test_a_notice_says_what_would_run_and_from_where() -> None:
    (notice,) = [n for n in noticed(settled(ONE, pod_of(TWO, meta=RUN % "a"))) if "podwire.dev/run" in n]
    assert (
        "container a of Pod default/p has its command in podwire.dev/run, which runs only with --run: sleep 1"
        in notice
    )
    (notice,) = [n for n in noticed(running(ONE, pod_of(TWO, meta=RUN % "a"))) if "--run" in n]
    assert "container a of Pod default/p runs its command, as --run allows: sleep 1" in notice


def test_what_a_notice_shows_can_do_nothing_to_a_terminal_and_is_not_long() -> None:
    containers = '{name: a, command: [sh, -c, "\\e[2J\\r\\n{0}%s", "' + "x" * 5000 + '"]}'
    (notice,) = [n for n in noticed(settled(ONE, pod_of(containers, meta=RUN % "a"))) if "--run" in n]
    assert notice.isprintable()
    assert "\\x1b[2J\\r\\n{0}%s" in notice
    assert len(notice) < 400


def test_a_template_s_command_is_shown_once_and_of_many_commands_ten() -> None:
    deployment = workload("Deployment", "w", 3, template=RUN % "*").replace(
        "{name: main,", "{name: main, command: [x],"
    )
    (notice,) = [n for n in noticed(settled(ONE, deployment)) if "--run" in n]
    assert "(and 2 more like it)" in notice
    many = ", ".join(f"{{name: c{n}, command: [x, '{n}']}}" for n in range(13))
    notices = [n for n in noticed(settled(ONE, pod_of(many, meta=RUN % "*"))) if "--run" in n]
    assert len(notices) == 11
    assert notices[-1] == "3 more commands would run with --run"


def test_undeclared_ports_are_left_to_a_real_command() -> None:
    web = service("s", "selector: {app: p}, ports: [{port: 9999}]")
    state = running(ONE, pod_of(TWO, meta=RUN % "a"), web)
    assert [row[2] for row in rows(state)] == [81]
    assert {port: owner for (_, port, _), owner in state.commanded_ports.items()} == {
        80: ("default/p", "a"),
        9999: ("default/p", "a"),
    }


def test_a_port_that_a_flow_check_means_to_reach_is_a_real_command_s() -> None:
    """Takes any port: containerPort is informational in Kubernetes, and a real command listens where it
    likes.
    """
    flows = [
        "{name: wanted, from: {node: worker-1}, to: {pod: p, port: 9000}}",
        "{name: closed, from: {node: worker-1}, to: {pod: p, port: 9001}, expect: {outcome: rejected}}",
    ]
    state = running(ONE, pod_of(TWO, meta=RUN % "*"), flow_check(*flows))
    assert sorted(port for _, port, _ in state.commanded_ports) == [80, 81, 9000]


def test_a_port_that_an_echo_server_has_is_no_real_command_s() -> None:
    web = service("s", "selector: {app: p}, ports: [{port: 81}]")
    state = running(ONE, pod_of(TWO, meta=RUN % "a"), web)
    assert [port for _, port, _ in state.commanded_ports] == [80]


@pytest.mark.parametrize(
    ("containers", "wish", "part"),
    [
        ("{name: web, command: [x]}", "wep", "there is no container wep"),
        ("{name: web}", "web", "container web has no command"),
        ("{name: web, command: [x]}, {name: side}", "*", "container side has no command"),
    ],
)
def test_mistakes(containers: str, wish: str, part: str) -> None:
    problem = problem_of(ONE, pod_of(containers, meta=RUN % wish))
    assert problem.path == 'metadata.annotations["podwire.dev/run"]'
    assert part in problem.what


def test_a_mistake_in_a_template_is_said_once() -> None:
    problem = problem_of(ONE, workload("Deployment", "w", 3, template=RUN % "nobody"))
    assert problem.path == 'spec.template.metadata.annotations["podwire.dev/run"]'
