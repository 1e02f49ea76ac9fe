"""Tests the selectors of requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from emulator.api.resources import Catalog, Resource
from emulator.api.selectors import Selection
from emulator.api.status import ApiError

POD: dict[str, Any] = {
    "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web", "tier": "front"}},
    "spec": {"nodeName": "worker", "hostNetwork": True},
    "status": {"phase": "Running"},
}


@dataclass
class Place:
    resource: Resource
    name: str = ""


def select(labels: str = "", fields: str = "", name: str = "") -> Selection:
    pods = Catalog().find("", "v1", "pods")
    assert pods is not None
    return Selection.of({"labelSelector": labels, "fieldSelector": fields}, Place(pods, name))


@pytest.mark.parametrize(
    ("labels", "fields", "found"),
    [
        ("", "", True),
        ("app=web,tier in (front,back)", "", True),
        ("!tier", "", False),
        ("app", "status.phase=Running,spec.nodeName=worker", True),
        ("", "status.phase!=Running", False),
        ("", "metadata.name==web", True),
        ("", "spec.hostNetwork=true", True),
        ("", "spec.nodeName=", False),
        ("", r"metadata.name=a\,b", False),
    ],
)
def test_objects_are_selected(labels: str, fields: str, found: bool) -> None:
    assert select(labels, fields).matches(POD) is found


def test_a_name_selects_one_object() -> None:
    assert select(name="web").matches(POD)
    assert not select(name="api").matches(POD)
    assert select().everything


@pytest.mark.parametrize(
    ("labels", "fields", "said"),
    [
        ("app in", "", "unable to parse requirement"),
        ("", "spec.color=red", "field label not supported: spec.color"),
        ("", "nonsense", "invalid field selector: 'nonsense'; can't understand 'nonsense'"),
    ],
)
def test_what_cannot_be_selected_is_a_bad_request(labels: str, fields: str, said: str) -> None:
    with pytest.raises(ApiError) as raised:
        select(labels, fields)
    assert raised.value.code == 400
    assert said in raised.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,,b", "found ',', expected: identifier after ','"),
        ("team in", "unable to parse requirement: found '' expected: '('"),
        ("team in (a", "unable to parse requirement: found '', expected: ')'"),
        ("(a", "found '(', expected: !, identifier, or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("a=(", "unable to parse requirement: found '(', expected: identifier"),
    ],
)
def test_label_selectors_that_are_none(text: str, words: str) -> None:
    resource = Catalog().of_kind("v1", "Pod")
    assert resource is not None
    with pytest.raises(ApiError) as raised:
        Selection.of({"labelSelector": text}, Place(resource))
    assert (raised.value.code, raised.value.message) == (400, words)
