"""Tests values of the cluster's state."""

from __future__ import annotations

from emulator.cluster.state import pod_netns
from tests.unit.states import WEB_0, make_pod

LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])  # 253 characters, as the API server allows


def test_the_namespace_of_a_pod_has_its_name() -> None:
    assert pod_netns(make_pod("web-0", "worker-1", WEB_0)) == "default_web-0"


def test_the_namespace_of_a_long_name_can_be_a_file_and_is_its_own() -> None:
    first, second = (pod_netns(make_pod(name, "worker-1", WEB_0)) for name in (LONGEST, LONGEST[:-1] + "e"))
    assert first != second
    assert first.startswith("default_aaa")
    assert max(len(first), len(second)) <= 200
