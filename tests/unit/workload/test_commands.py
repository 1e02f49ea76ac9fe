"""Tests a real command's environment, and the paths hidden from it."""

from __future__ import annotations

import pytest

from emulator.kernel.container import hidden_homes
from emulator.objects.kinds import Container, EnvVar, EnvVarSource, ObjectFieldSelector
from emulator.workload.commands import ContainerRef, environment
from tests.unit.states import make_service, make_state


@pytest.mark.parametrize(
    ("homes", "hidden"),
    [
        (["/home/me", "/root", "/home/me"], ("/home/me", "/root")),
        (["/var/lib/service", "/nonexistent"], ("/var/lib/service", "/nonexistent")),
        (["/", "", "relative"], ()),
        (["/usr/games", "/usr", "/bin", "/etc/x", "/opt/app"], ()),
        (["/users/me", "/optional"], ("/users/me", "/optional")),
    ],
)
def test_homes_are_hidden_unless_programs_are_there(homes: list[str], hidden: tuple[str, ...]) -> None:
    assert hidden_homes(homes) == hidden


def test_a_command_has_its_own_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/root/.kube/config")
    monkeypatch.setenv("PATH", "/evil")
    state = make_state(make_service())
    address = EnvVarSource(fieldRef=ObjectFieldSelector(fieldPath="status.podIP"))
    env = (
        EnvVar(name="IP", valueFrom=address),
        EnvVar(name="URL", value="http://$(IP)/$(KUBECONFIG)/$$(IP)"),
    )
    values = environment(state, state.pod["default/web-0"], Container(name="c", env=env))
    assert values == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/tmp",
        "HOSTNAME": "web-0",
        "IP": "10.244.1.3",
        "URL": "http://10.244.1.3/$(KUBECONFIG)/$(IP)",
    }


def test_a_container_is_two_keys_whatever_its_names() -> None:
    one, other = ContainerRef("default/a b", "c"), ContainerRef("default/a", "b c")
    assert one != other
    assert str(ContainerRef("default/web", "nginx")) == "container nginx of Pod default/web"
