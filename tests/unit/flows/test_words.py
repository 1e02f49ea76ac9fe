"""Tests the words that name a flow on a command line."""

from __future__ import annotations

import pytest

from emulator.errors import UsageError
from emulator.flows.words import client_in, read_destination
from emulator.objects.config import FlowFrom, FlowTo
from tests.sandboxed import state_of


@pytest.mark.parametrize(
    ("word", "to"),
    [
        ("service/web:80", FlowTo(service="web", port=80)),
        ("svc/web:http", FlowTo(service="web", port="http")),
        ("svc/shop/web:80", FlowTo(service="web", namespace="shop", port=80)),
        ("pod/web-1:8080", FlowTo(pod="web-1", port=8080)),
        ("node/worker-1:30080", FlowTo(node="worker-1", port=30080)),
        ("LB/web:80", FlowTo(loadBalancer="web", port=80)),
        ("external/db:5432", FlowTo(external="db", port=5432)),
        ("10.96.0.1:443", FlowTo(ip="10.96.0.1", port=443)),
    ],
)
def test_a_word_names_a_destination(word: str, to: FlowTo) -> None:
    assert read_destination(word, "") == to


def test_a_namespace_is_that_of_what_names_none() -> None:
    assert read_destination("svc/web:80", "shop").namespace == "shop"
    assert read_destination("svc/a/web:80", "shop").namespace == "a"


@pytest.mark.parametrize("word", ["", "web", "web:80", "service/web", "service/:80", "crown/web:80", "a:b:c"])
def test_other_words_are_told_with_an_example(word: str) -> None:
    with pytest.raises(UsageError, match="service/web:80"):
        read_destination(word, "")


@pytest.mark.parametrize(
    ("netns", "client"),
    [
        ("default_client-a", FlowFrom(pod="client-a")),
        ("worker-1", FlowFrom(node="worker-1")),
        ("client-1", FlowFrom(external="client-1")),
    ],
)
def test_a_client_is_found_by_its_network_namespace(netns: str, client: FlowFrom) -> None:
    assert client_in(state_of("three-networks"), netns) == client


def test_a_router_dials_nobody() -> None:
    with pytest.raises(UsageError, match="router sends nothing"):
        client_in(state_of("three-networks"), "router")
