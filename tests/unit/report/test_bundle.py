"""Tests the evidence bundle of a flow that failed."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from emulator.report.bundle import netns_on_path, plan_bundle
from emulator.report.prose import say
from tests.unit.report.samples import (
    FAILED,
    PASSED,
    PODS,
    flow,
)

CAPTURED = replace(FAILED, captures=("02-gone.pcapng",))


def test_the_files_of_a_bundle() -> None:
    files = dict(
        plan_bundle(
            CAPTURED, {"worker-1": {"rules": "*nat", "routes": "default\n"}}, ["1 SYN", "2 SYN"], PODS
        )
    )
    assert list(files) == [
        "failed/02-gone/expectation.json",
        "failed/02-gone/journey.txt",
        "failed/02-gone/frames.txt",
        "failed/02-gone/worker-1.rules.txt",
        "failed/02-gone/worker-1.routes.txt",
    ]
    assert files["failed/02-gone/worker-1.rules.txt"] == b"*nat\n"
    assert files["failed/02-gone/worker-1.routes.txt"] == b"default\n"
    assert files["failed/02-gone/frames.txt"] == b"1 SYN\n2 SYN\n"
    assert json.loads(files["failed/02-gone/expectation.json"])["expected"]["because"] == say(
        FAILED.expected.because
    )


def test_the_journey_names_the_difference_the_hops_and_the_capture() -> None:
    text = dict(plan_bundle(CAPTURED, {}, [], PODS))["failed/02-gone/journey.txt"].decode()
    assert text.startswith("FAIL pod default/client → svc default/gone:80\n")
    assert "← differs" in text
    assert f"\n    {FAILED.journeys[0].there[0]}\n" in text
    assert text.endswith("\nframes: ../../02-gone.pcapng\n")


def test_a_flow_without_captures_is_named_after_itself() -> None:
    assert (
        plan_bundle(FAILED, {}, [], PODS)[0][0]
        == "failed/pod-default-client-svc-default-gone-80/expectation.json"
    )


@given(st.text(), st.text(), st.text(st.characters()))
def test_names_stay_inside_the_bundle(netns: str, title: str, content: str) -> None:
    result = replace(FAILED, flow=flow(title))
    for name, _ in plan_bundle(result, {netns: {title: content}}, [content], PODS):
        assert re.fullmatch(r"failed/[a-z0-9-]+/[a-z0-9][a-z0-9._-]*", name)


def test_the_way_of_a_flow() -> None:
    assert netns_on_path(PASSED) == ("default_client", "worker-1", "default_web-1")


def test_the_way_that_no_packet_took_is_the_one_it_should_have_begun() -> None:
    assert netns_on_path(replace(FAILED, flow=flow("x", via="worker-2"), journeys=())) == (
        "default_client",
        "worker-1",
        "worker-2",
    )
