"""Tests doctor's words about its findings: the modes that run, and remedies that work on this machine."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from emulator.run.doctor import (
    Capability,
    kernel_remedy,
    modes,
    render,
)

USED = ("iptables-restore", "iptables", "nft", "nf_tables", "ipset", "ip_vs")


def findings(*lacking: str) -> Sequence[Capability]:
    """Returns everything that modes use and every run needs, but for ``lacking``."""
    found = [
        Capability(group="kernel", name=name, ok=name not in lacking, required=False, remedy=f"mend {name}")
        for name in USED
    ]
    every = [
        Capability(group="kernel", name=name, ok=name not in lacking, required=True, remedy=f"mend {name}")
        for name in ("veth", "bridge")
    ]
    return [*every, *found]


@pytest.mark.parametrize(
    ("lacking", "needs"),
    [
        ((), {}),
        (("ip_vs",), {"ipvs": "ip_vs"}),
        (("ipset", "ip_vs"), {"ipvs": "ipset"}),
        (("nft", "nf_tables"), {"nftables": "nft"}),
        (("iptables",), {"iptables": "iptables", "userspace": "iptables", "ipvs": "iptables"}),
        (("veth",), {"iptables": "veth", "nftables": "veth", "userspace": "veth", "ipvs": "veth"}),
    ],
    ids=lambda value: ",".join(value) or "all there" if isinstance(value, tuple) else "",
)
def test_each_mode_runs_or_names_what_it_needs(lacking: tuple[str, ...], needs: dict[str, str]) -> None:
    said = {mode: obstacle for mode, obstacle in modes(findings(*lacking)).items() if obstacle}
    assert said == {mode: f"needs {name}: mend {name}" for mode, name in needs.items()}


def test_a_module_that_is_there_is_to_be_loaded() -> None:
    assert kernel_remedy("ip_vs", frozenset({"ip_vs"}), guest="no guest") == "sudo modprobe ip_vs"
    assert kernel_remedy("ipset", frozenset({"ip_set"}), guest="") == "sudo modprobe ip_set"


def test_a_guest_is_recommended_only_where_one_runs() -> None:
    assert "scripts/uml" in kernel_remedy("ip_vs", frozenset(), guest="")
    said = kernel_remedy("ip_vs", frozenset(), guest="the guest died")
    assert said.endswith("user-mode Linux, which has it, does not run here: the guest died")


def test_a_guest_is_not_recommended_for_what_it_lacks() -> None:
    assert "user-mode Linux" not in kernel_remedy("nf_tables", frozenset(), guest="")


def test_without_being_asked_it_lists_the_modes_alone() -> None:
    text = render(findings("ip_vs"))
    assert text.splitlines()[:4] == [
        "iptables   ok",
        "nftables   ok",
        "userspace  ok",
        "ipvs       needs ip_vs: mend ip_vs",
    ]
    assert "veth" not in text
    assert "veth" in render(findings(), every=True)
    assert text.endswith("\npodwire runs here.")


def test_what_every_run_lacks_is_named() -> None:
    text = render(findings("veth"))
    assert "\nveth: is missing: mend veth\n" in text
    assert text.endswith("\npodwire cannot run here yet: veth")


def test_nothing_breaks_inside_a_word_at_eighty_columns() -> None:
    path = "/usr/sbin/" + "x" * 30
    lacking = [
        Capability(
            group="kernel",
            name=name,
            ok=False,
            required=False,
            remedy="scripts/with-env scripts/uml podwire " * 3,
        )
        for name in ("ip_vs", "dummy")
    ]
    there = Capability(group="tool", name="iptables-restore", ok=True, required=True, detail=path)
    for every in (False, True):
        text = render([*findings(), there, *lacking], every=every, width=80)
        assert max(map(len, text.splitlines())) <= 80
        assert not every or path in text
    assert text.count("ip_vs, dummy: scripts/with-env") == 1
