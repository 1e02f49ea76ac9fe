"""Tests the Status documents against the words of a kube-apiserver."""

from __future__ import annotations

import pytest

from emulator.api import status
from emulator.api.resources import Catalog, Resource
from emulator.load.faults import Fault
from emulator.store.errors import ConflictError, InvalidError, NotFoundError


def resource(apiVersion: str = "apps/v1", kind: str = "Deployment") -> Resource:
    found = Catalog().of_kind(apiVersion, kind)
    assert found is not None
    return found


def test_what_is_not_there() -> None:
    assert status.not_found(resource(), "web").document() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "web" not found',
        "reason": "NotFound",
        "details": {"name": "web", "group": "apps", "kind": "deployments"},
        "code": 404,
    }


def test_an_invalid_object_names_each_field() -> None:
    faults = [Fault(("spec", "selector"), "is required"), Fault(("spec", "replicas"), "must not be negative")]
    with (
        pytest.raises(status.ApiError) as raised,
        status.refusals(resource(), "web", {"spec": {"replicas": -1}}),
    ):
        raise InvalidError("web", faults)
    document = raised.value.document()
    assert (document["code"], document["reason"]) == (422, "Invalid")
    assert document["message"] == (
        'Deployment.apps "web" is invalid: [spec.selector: Required value, '
        "spec.replicas: Invalid value: -1: must not be negative]"
    )
    assert document["details"]["kind"] == "Deployment"
    assert [one["reason"] for one in document["details"]["causes"]] == [
        "FieldValueRequired",
        "FieldValueInvalid",
    ]


@pytest.mark.parametrize(("error", "code"), [(ConflictError("x"), 409), (NotFoundError("x"), 404)])
def test_refusals_of_the_store_are_the_apis(error: Exception, code: int) -> None:
    with pytest.raises(status.ApiError) as raised, status.refusals(resource(), "web"):
        raise error
    assert raised.value.code == code


def test_a_selector_is_written_as_a_query_has_it() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["b", "a"]},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    assert status.selector_text({"matchLabels": {"app": "web"}, "matchExpressions": expressions}) == (
        "app=web,!old,tier in (a,b)"
    )
    assert status.selector_text({"b": "2", "a": "1"}) == "a=1,b=2"


def test_unknown_fields_are_refused_told_or_passed_over() -> None:
    faults = ['unknown field "spec.replica"']
    assert status.strict("Warn", faults) == tuple(faults)
    assert status.strict("Ignore", faults) == ()
    assert status.strict("Strict", []) == ()
    with pytest.raises(status.ApiError, match="strict decoding error: unknown field"):
        status.strict("Strict", faults)


def test_messages_hold_no_terminal_escapes() -> None:
    assert "\x1b" not in str(status.not_found(resource(), "\x1b[2J"))
