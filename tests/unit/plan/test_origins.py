"""Tests the origins of one Service's rules."""

from __future__ import annotations

from emulator.net import Address
from emulator.plan.origins import NODE_PORT, UNASKED, ServiceOrigins, explained
from emulator.plan.rules import Match, Rule
from tests.objects import service, slice_of

MADE = service()
SLICES = [slice_of(MADE, {"ip": "10.244.1.2"}, name="one"), slice_of(MADE, {"ip": "10.244.1.3"}, name="two")]


def test_origins_are_made_when_they_are_asked_for() -> None:
    asked = ServiceOrigins("default/web", SLICES)
    assert str(asked.of(NODE_PORT)) == "Service default/web spec.ports.nodePort"
    assert UNASKED.of(NODE_PORT) is None
    assert str(asked.endpoint(Address("10.244.1.3"), 8080)) == "EndpointSlice default/two endpoints"
    assert asked.endpoint(Address("10.244.1.4"), 8080) is None
    assert UNASKED.endpoint(Address("10.244.1.3"), 8080) is None


def test_a_rule_is_shown_as_the_command_that_makes_it() -> None:
    rule = Rule("nat", "A", Match("-p tcp"), "B", "why")
    assert explained(rule) == ('iptables -t nat -A A -p tcp -m comment --comment "why" -j B', None)
