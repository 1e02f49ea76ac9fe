"""Changes of virtual servers and of sets, applied to a model of the kernel that refuses what the kernel
would.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.net import IPV4
from emulator.plan.ipvs import AddressSet, RealServer, VirtualServer, edits, ipset_change, ipset_text

Real = dict[tuple[str, int], int]  # weights
Kernel = dict[tuple[str, str, int], tuple[str, int, Real]]

REALS = st.lists(st.sampled_from([RealServer(f"10.244.0.{n}", 80) for n in range(4)]), unique=True).map(tuple)
SERVERS = st.lists(
    st.builds(
        VirtualServer,
        protocol=st.sampled_from(["TCP", "UDP"]),
        ip=st.sampled_from(["10.96.0.1", "10.96.0.2"]),
        port=st.just(80),
        scheduler=st.sampled_from(["rr", "sh"]),
        persistence=st.sampled_from([0, 60]),
        servers=REALS,
    ),
    unique_by=lambda server: server.key,
)
SETS = st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(
    lambda entries: AddressSet(name="X", kind="hash:ip", family=IPV4, entries=tuple(entries))
)


def apply(kernel: Kernel, was: list[VirtualServer], servers: list[VirtualServer]) -> None:
    for verb, server, real in edits(was, servers):
        if verb == "add server":
            assert server.key not in kernel
            kernel[server.key] = (server.scheduler, server.persistence, {})
        elif verb == "edit server":
            kernel[server.key] = (server.scheduler, server.persistence, kernel[server.key][2])
        elif verb == "delete server":
            del kernel[server.key]
        else:
            assert real
            reals = kernel[server.key][2]
            if verb == "add real":
                reals.setdefault(real[:2], real.weight)  # EEXIST is no failure
            elif verb == "edit real":
                assert real[:2] in reals
                reals[real[:2]] = real.weight
            else:
                del reals[real[:2]]


def wanted(servers: list[VirtualServer]) -> Kernel:
    return {
        s.key: (s.scheduler, s.persistence, {(r.ip, r.port): r.weight for r in s.servers}) for s in servers
    }


@given(st.lists(SERVERS, min_size=2, max_size=4))
def test_any_changes_of_servers_leave_what_the_last_one_wants(states: list[list[VirtualServer]]) -> None:
    kernel: Kernel = {}
    before: list[VirtualServer] = []
    for servers in states:
        apply(kernel, before, servers)
        serving = {
            key: (*rest, {real: w for real, w in reals.items() if w})
            for key, (*rest, reals) in kernel.items()
        }
        assert serving == wanted(servers)
        assert all(
            weight
            for (protocol, *_), (*_, reals) in kernel.items()
            if protocol == "UDP"
            for weight in reals.values()
        )
        before = servers


@given(SERVERS)
def test_no_change_is_no_edit(servers: list[VirtualServer]) -> None:
    assert list(edits(servers, servers)) == []


@given(st.lists(SETS, min_size=1, max_size=1), st.lists(SETS, min_size=1, max_size=1))
def test_a_change_of_a_set_names_what_changed(old: list[AddressSet], new: list[AddressSet]) -> None:
    lines = ipset_change(old, new).splitlines()
    entries = set(old[0].entries)
    for line in lines:
        verb, _, entry = line.split()
        assert (entry in entries) == (verb == "del")
        entries ^= {entry}
    assert entries == set(new[0].entries)
    assert len(lines) == len(set(old[0].entries) ^ set(new[0].entries))


def test_a_new_set_is_made_and_an_old_one_is_not_taken_away() -> None:
    one = AddressSet(name="X", kind="hash:ip", family=IPV4, entries=("10.0.0.1",))
    assert ipset_change([], [one]) == ipset_text([one]).replace("flush X\n", "")
    with pytest.raises(ValueError, match="X"):
        ipset_change([one], [])
