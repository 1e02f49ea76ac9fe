"""Tests label selectors, row by row of Kubernetes' definition."""

from __future__ import annotations

import pytest

from emulator.objects.kinds import LabelSelector, LabelSelectorRequirement
from emulator.objects.selectors import matches, matches_labels, parse_selector

LABELS = {"app": "web", "tier": "front"}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param({}, True, id="empty selects all"),
        pytest.param({"app": "web"}, True, id="one of two labels"),
        pytest.param({"app": "web", "tier": "front"}, True, id="both"),
        pytest.param({"app": "api"}, False, id="other value"),
        pytest.param({"app": "web", "zone": "a"}, False, id="a key that is not there"),
    ],
)
def test_match_labels(selector: dict[str, str], expected: bool) -> None:
    assert matches_labels(selector, LABELS) is expected
    assert matches(LabelSelector(matchLabels=selector), LABELS) is expected


@pytest.mark.parametrize(
    ("key", "operator", "values", "expected"),
    [
        ("app", "In", ("web", "api"), True),
        ("app", "In", ("api",), False),
        ("zone", "In", ("a",), False),
        ("app", "NotIn", ("api",), True),
        ("app", "NotIn", ("web",), False),
        ("zone", "NotIn", ("a",), True),
        ("app", "Exists", (), True),
        ("zone", "Exists", (), False),
        ("app", "DoesNotExist", (), False),
        ("zone", "DoesNotExist", (), True),
    ],
)
def test_match_expressions(key: str, operator: str, values: tuple[str, ...], expected: bool) -> None:
    requirement = LabelSelectorRequirement(key=key, operator=operator, values=values)  # type: ignore[arg-type]  # a row of the table
    assert matches(LabelSelector(matchExpressions=(requirement,)), LABELS) is expected
    assert not matches(LabelSelector(matchLabels={"app": "other"}, matchExpressions=(requirement,)), LABELS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app=web", True),
        ("app==web,tier=front", True),
        ("app = api", False),
        ("app!=api", True),
        ("zone!=a", True),
        ("app in (api, web),tier", True),
        ("app in (api,db)", False),
        ("app notin (api, db)", True),
        ("zone notin (a)", True),
        ("!zone", True),
        ("!app", False),
        ("zone", False),
        ("app.kubernetes.io/name=web", False),
        ("in=x", False),
    ],
)
def test_a_selector_is_spelled_as_kubectl_takes_it(text: str, expected: bool) -> None:
    assert matches(parse_selector(text), LABELS) is expected


@pytest.mark.parametrize(
    "text", ["", "=", "app=web,", "app in web", "app in (a", "app in ()", "a b", "-a=b", "a=b c"]
)
def test_a_selector_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the part is the message
        parse_selector(text)
