"""Tests how the FlowChecks of ``podwire check`` are found, and that they can be sent to another process."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from emulator.errors import InputError
from emulator.run.checking import checks_in, find_checks, is_file, read_checks

FLOWS = """
apiVersion: podwire.dev/v1alpha1
kind: FlowCheck
metadata: {name: shop}
spec:
  flows:
  - from: {pod: client}
    to: {service: web, port: 80}
"""
FLOW = {"from": {"pod": "client"}, "to": {"service": "web", "port": 80}}


def document(name: str, namespace: str = "default", **spec: object) -> dict[str, object]:
    return {
        "apiVersion": "podwire.dev/v1alpha1",
        "kind": "FlowCheck",
        "metadata": {"name": name, "namespace": namespace, "uid": "u", "resourceVersion": "7"},
        "spec": spec or {"flows": [FLOW]},
    }


def test_a_flow_check_keeps_its_lines_on_the_way_to_another_process(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(FLOWS)
    (loaded,) = pickle.loads(pickle.dumps(read_checks([str(file)])))  # noqa: S301 - ours
    assert loaded.origin.place("spec.flows[0].to") == f"{file}:8"
    assert loaded.origin.place("spec.flows[0].to.nodePort") == f"{file}:8"
    assert loaded.object.flows[0].to.service == "web"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n", "holds no FlowCheck"),
        (FLOWS.replace("  flows:", "  steps:\n  - wait: 1\n  flows:"), "spec.steps: has steps"),
        (FLOWS.replace("pod: client", "pud: client"), "pud"),
    ],
)
def test_what_a_file_must_not_be(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=said):
        read_checks([str(file)])


def test_names_are_those_of_default_first_and_may_say_their_namespace() -> None:
    known = tuple(checks_in([document("a", "x"), document("a"), document("b", "x")]))
    found = [one.object.metadata.namespace for one in find_checks(["a", "b", "x/a", "default/a"], known)]
    assert found == ["default", "x", "x", "default"]
    with pytest.raises(InputError, match=r"c: is neither a file nor a FlowCheck in the cluster.*there is: a"):
        find_checks(["c"], known)


def test_an_object_of_the_api_that_podwire_cannot_read_is_named() -> None:
    with pytest.raises(InputError, match=r"FlowCheck default/a: spec\.floes"):
        tuple(checks_in([document("a", floes=[])]))


@pytest.mark.parametrize(
    ("word", "is_one"), [("-", True), ("a.yaml", True), ("a.py", True), ("shop", False), ("x/shop", False)]
)
def test_a_word_with_an_ending_is_a_file(word: str, is_one: bool) -> None:
    assert is_file(word) is is_one
