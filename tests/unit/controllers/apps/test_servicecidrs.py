"""Tests the ServiceCIDR of the cluster."""

from __future__ import annotations

from emulator.controllers.apps.servicecidrs import KIND
from tests.unit.controllers.apps.living import Living


def test_it_says_the_prefix_of_cluster_ips_and_comes_back() -> None:
    living = Living()
    first = living.document(KIND, "kubernetes", "")
    assert first["spec"] == {"cidrs": ["10.96.0.0/12"]}
    assert first["status"]["conditions"][0]["type"] == "Ready"
    living.delete(KIND, "kubernetes", "")
    assert living.document(KIND, "kubernetes", "")["metadata"]["uid"] != first["metadata"]["uid"]
