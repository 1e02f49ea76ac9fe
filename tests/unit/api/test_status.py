"""Tests the Status documents against the words of a kube-apiserver."""

from __future__ import annotations

import pytest

from emulator.api import status
from emulator.api.resources import Catalog, Resource
from emulator.load.faults import Fault, FaultKind, not_supported, required
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
    faults = [required(("spec", "selector")), Fault(("spec", "replicas"), "must not be negative")]
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


SERVICE = {
    "spec": {"type": "Odd", "ports": [{"port": 80}, {"port": 80}], "externalIPs": ["1.2.3.4"], "clusterIP": 7}
}


@pytest.mark.parametrize(
    ("fault", "reason", "message"),
    [
        (required(("spec", "selector"), hint="write it"), "Required", "Required value"),
        (required(("spec", "x"), " with In"), "Required", "Required value: is required with In"),
        (
            not_supported(("spec", "type"), "Odd", ["NodePort", "ClusterIP"]),
            "NotSupported",
            'Unsupported value: "Odd": supported values: "ClusterIP", "NodePort"',
        ),
        (
            Fault(("spec", "ports", 1), "is there already", kind=FaultKind.DUPLICATE),
            "Duplicate",
            'Duplicate value: {"port":80}',
        ),
        (
            Fault(("spec", "clusterIP"), "may not be set", "leave it out", FaultKind.FORBIDDEN),
            "Forbidden",
            "Forbidden: may not be set (leave it out)",
        ),
        (
            Fault(("spec", "ports"), "must hold at most 1", kind=FaultKind.TOO_MANY),
            "TooMany",
            "Too many: 2: must hold at most 1",
        ),
        (
            Fault(("spec", "clusterIP"), "must be a string, is 7", kind=FaultKind.TYPE_INVALID),
            "TypeInvalid",
            "Invalid value: 7: must be a string, is 7",
        ),
        (
            Fault(("spec", "externalIPs", 3), "is no address", "10.0.0.1, say"),
            "Invalid",
            "Invalid value: null: is no address (10.0.0.1, say)",
        ),
    ],
    ids=lambda value: value.kind.name if isinstance(value, Fault) else "",
)
def test_a_cause_has_the_reason_of_its_fault(fault: Fault, reason: str, message: str) -> None:
    cause = status.cause_of(fault, SERVICE)
    assert (cause.reason, cause.message) == (f"FieldValue{reason}", message)


def test_a_fault_may_say_required_and_be_none() -> None:
    fault = Fault(("metadata", "name"), "is required", kind=FaultKind.INVALID)
    assert status.cause_of(fault, {}).reason == "FieldValueInvalid"


@pytest.mark.parametrize("kind", list(FaultKind), ids=lambda kind: kind.name)
def test_an_option_is_refused_with_the_reason_of_its_kind(kind: FaultKind) -> None:
    (cause,) = status.invalid_option("dryRun", kind, "say All", "Some").document()["details"]["causes"]
    assert (cause["reason"], cause["field"]) == (kind.value, "dryRun")


def test_an_option_is_refused_in_the_servers_words() -> None:
    refused = status.invalid_option("dryRun", FaultKind.NOT_SUPPORTED, status.supported_values(["All"]), "X")
    assert refused.message == ' "" is invalid: dryRun: Unsupported value: "X": supported values: "All"'


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
    assert status.strict("Warn", faults, resource()) == tuple(faults)
    assert status.strict("Ignore", faults, resource()) == ()
    assert status.strict("Strict", [], resource()) == ()
    with pytest.raises(status.ApiError, match="strict decoding error: unknown field"):
        status.strict("Strict", faults, resource())


def test_messages_hold_no_terminal_escapes() -> None:
    assert "\x1b" not in str(status.not_found(resource(), "\x1b[2J"))
