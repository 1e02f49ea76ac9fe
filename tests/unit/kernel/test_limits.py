"""Tests limits: a cluster's needs, and the sentence for each way in which one is met."""

from __future__ import annotations

import errno
import pickle
import resource
from dataclasses import replace
from typing import Literal

import pytest

from emulator.errors import KernelError, PodwireError
from emulator.kernel import limits, linux
from emulator.kernel.iptables import NFT, _reason
from emulator.kernel.limits import (
    LimitError,
    Size,
    check_limits,
    descriptors_needed,
    explain,
    sockets_at_once,
)
from emulator.kernel.netns import Namespaces
from emulator.kernel.rules import RuleLoader
from emulator.net import IPV4
from emulator.plan.operations import LoadRules
from emulator.plan.rules import RuleSet

SMALL, LARGE = Size(namespaces=10, listeners=10), Size(namespaces=600, listeners=600)


@pytest.fixture
def hard(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Returns the hard limit of descriptors."""
    values = {"limit": 1024}
    monkeypatch.setattr(resource, "getrlimit", lambda _: (values["limit"], values["limit"]))
    return values


def test_the_need_grows_with_namespaces_and_servers() -> None:
    few = Size(namespaces=10, listeners=12)
    more = replace(few, namespaces=11)
    assert (
        descriptors_needed(few)
        < descriptors_needed(more)
        <= descriptors_needed(replace(more, listeners=4000))
    )


@pytest.mark.parametrize("what", ["nodes", "changed", "listeners", "proxies", "connections"])
def test_whatever_opens_descriptors_is_counted(what: str) -> None:
    least = Size(namespaces=10)
    assert descriptors_needed(replace(least, **{what: 5000})) >= descriptors_needed(least) + 4000


def test_a_cluster_that_does_not_fit_is_refused_with_limit_and_need(hard: dict[str, int]) -> None:
    need = descriptors_needed(LARGE)
    with pytest.raises(LimitError) as refused:
        check_limits(LARGE)
    for words in (
        f"600 network namespaces needs {need} open files",
        "the hard limit is 1024 (RLIMIT_NOFILE)",
        f"ulimit -Hn {need}",
    ):
        assert words in str(refused.value)
    hard["limit"] = need
    check_limits(LARGE)
    hard["limit"] = resource.RLIM_INFINITY
    check_limits(replace(LARGE, listeners=10**6))


def test_what_is_left_of_the_descriptors_is_for_sockets(hard: dict[str, int]) -> None:
    hard["limit"] = descriptors_needed(SMALL)
    least = sockets_at_once(SMALL)
    hard["limit"] += 100
    assert sockets_at_once(SMALL) == least + 100 > 100


def test_too_few_namespaces_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        limits, "_read_number", lambda path: 50 if path.endswith("max_net_namespaces") else None
    )
    check_limits(Size(namespaces=49))
    with pytest.raises(
        LimitError,
        match=r"needs 51 network namespaces; user\.max_net_namespaces is 50: .*sysctl -w "
        r"user\.max_net_namespaces=102",
    ):
        check_limits(Size(namespaces=50))


EXPLAINED = {
    "no descriptors": (OSError(errno.EMFILE, "Too many open files"), "RLIMIT_NOFILE"),
    "no descriptors, told by another process": (
        OSError("the echo servers: [Errno 24] Too many open files"),
        "RLIMIT_NOFILE",
    ),
    "no descriptors for a library": (
        ImportError("libssl.so.3: cannot open shared object file: Too many open files"),
        "RLIMIT_NOFILE",
    ),
    "no descriptors on the machine": (
        OSError(errno.ENFILE, "Too many open files in system"),
        "fs.file-max is ",
    ),
    "no memory": (MemoryError(), "not enough memory: "),
    "no memory in the kernel": (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory: "),
    "no memory for a library": (
        ImportError("libc.so.6: failed to map segment from shared object"),
        "not enough memory: ",
    ),
    "no processes": (
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
        "no more processes can be started",
    ),
    "no threads": (RuntimeError("can't start new thread"), "no more threads can be started"),
    "no namespaces": (
        OSError(errno.ENOSPC, "No space left on device", "unshare(0x40000000)"),
        "user.max_net_namespaces is ",
    ),
    "no room": (
        OSError(errno.ENOSPC, "No space left on device", "/run/x"),
        "No space left on device: /run/x",
    ),
    "not permitted": (
        PermissionError(errno.EPERM, "Operation not permitted"),
        "Operation not permitted: podwire doctor names",
    ),
    "anything else": (OSError(errno.EPROTO, "Protocol error"), "Protocol error"),
    "without a number": (
        OSError("the process of the echo servers has ended"),
        "the process of the echo servers has ended",
    ),
}


@pytest.mark.parametrize("case", EXPLAINED)
def test_what_a_limit_makes_fail_is_one_sentence(case: str) -> None:
    error, words = EXPLAINED[case]
    explained = explain(error)
    assert isinstance(explained, PodwireError)
    assert words in str(explained)
    assert "\n" not in str(explained)
    assert (explained.exit_code, str(pickle.loads(pickle.dumps(explained)))) == (3, str(explained))  # noqa: S301


def test_our_own_errors_are_what_they_are() -> None:
    error = KernelError("n", ["ip"], "refused")
    assert explain(error) is error


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        RuntimeError("dictionary changed size"),
        ImportError("cannot import name 'x'"),
        AssertionError(),
    ],
)
def test_a_mistake_of_ours_keeps_its_traceback(error: Exception) -> None:
    assert explain(error) is None


def test_an_error_that_nobody_expected_says_where_it_was_met() -> None:
    with pytest.raises(OSError, match="setns") as met:
        linux.setns(-1)
    assert str(explain(met.value)).startswith("Bad file descriptor: setns (emulator/kernel/linux.py:")


def loader() -> RuleLoader:
    return RuleLoader(Namespaces(), "iptables-nft-restore")


@pytest.mark.parametrize("tool", ["nft", "iptables-restore"])
def test_rules_that_are_too_long_for_one_message_name_the_limit(
    tool: Literal["nft", "iptables-restore"],
) -> None:
    refusal = KernelError("worker-1", [tool], "netlink: Error: Could not process rule: Message too long", "x")
    with (
        pytest.raises(PodwireError) as raised,
        loader()._piecewise(LoadRules(netns="worker-1", tool=tool, family=IPV4, rules=RuleSet({}), why="")),
    ):
        raise refusal
    if tool == "nft":
        assert isinstance(raised.value, LimitError)
        assert "the rules of worker-1 are too long" in str(raised.value)
        assert "net.core.wmem_default" in str(raised.value)
    else:  # which falls back to another flavour
        assert raised.value is refusal


def test_another_refusal_of_nft_stays_what_it_is() -> None:
    refusal = KernelError("worker-1", ["nft"], "syntax error", "x")
    with (
        pytest.raises(KernelError) as raised,
        loader()._piecewise(LoadRules(netns="worker-1", tool="nft", family=IPV4, rules=RuleSet({}), why="")),
    ):
        raise refusal
    assert raised.value is refusal


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "Could not fetch rule set generation id: Invalid argument\nx\n",
            "Could not fetch rule set generation id: Invalid argument",
        ),
        (
            (
                "iptables-nft-restore v1.8.9 (nf_tables):\nCould not fetch rule set generation id: "
                "Invalid argument\n"
            ),
            "Could not fetch rule set generation id: Invalid argument",
        ),
        (
            "iptables-nft-restore v1.8.9 (nf_tables): Couldn't load match `comment'",
            "Couldn't load match `comment'",
        ),
        ("", "it says nothing"),
    ],
)
def test_the_cause_of_a_refusal_is_not_the_name_of_the_tool(said: str, reason: str) -> None:
    assert _reason(KernelError("", [NFT], said)) == reason
