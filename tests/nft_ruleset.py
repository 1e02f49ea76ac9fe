"""Reads the text of an nft table (as ``nft list ruleset`` prints it, or as we load it) and says what it
promises, layout aside.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BLOCK = re.compile(r"^\t(set|map|chain) (\S+) \{\n(.*?)^\t\}$", re.MULTILINE | re.DOTALL)
_ELEMENTS = re.compile(r"elements = \{(.*?)\}$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r' comment "[^"]*"')


class Table(NamedTuple):
    """Sets and maps: name → key → value ("" in a set). Chains: name → rules, without comments."""

    elements: dict[str, dict[str, str]]
    chains: dict[str, list[str]]


def parse(text: str, family: str = "ip") -> Table:
    start = text.index(f"table {family} kube-proxy {{")
    body = text[start : text.index("\n}", start)]
    table = Table({}, {})
    for kind, name, lines in _BLOCK.findall(body):
        if kind == "chain":
            table.chains[name] = [_COMMENT.sub("", line.strip()) for line in lines.splitlines()]
            continue
        found = _ELEMENTS.search(_COMMENT.sub("", lines))
        rows = [" ".join(row.split()) for row in found[1].split(",")] if found else []
        table.elements[name] = {key: value for key, _, value in (row.partition(" : ") for row in rows)}
    return table


class Promise(NamedTuple):
    """Describes the result for a key. A list is the endpoints that it may end at; ``None`` if no rule leads
    to one.
    """

    strangers: frozenset[str] | None
    masqueraded: str  # "always", "strangers" or "local" (what the node itself sends); "" for nobody
    pods: frozenset[str] | None  # the short cut of local Pods, where there is one


def _endpoints(table: Table, rule: str, key: str) -> frozenset[str] | None:
    """Returns where ``rule`` leads a packet that was dialled as ``key``, if it leads to endpoints at all."""
    looked_up = re.search(r"numgen random mod (\d+)(?: offset (\d+))? map @(\S+)$", rule)
    if looked_up:
        first = int(looked_up[2] or 0)
        rows = (
            table.elements[looked_up[3]][f"{key} . {index}"]
            for index in range(first, first + int(looked_up[1]))
        )
        return frozenset(row.replace(" . ", ":") for row in rows)
    mapped = re.search(r" dnat ip to numgen random mod (\d+) map \{ (.*) \}$", rule)
    if mapped:
        rows = [part.partition(" : ")[2] for part in mapped[2].split(", ")]
        assert len(rows) == int(mapped[1])
        return frozenset(row.replace(" . ", ":") for row in rows)
    only = re.search(r" dnat to (\S+)$", rule)
    if only:
        return frozenset(only.groups())
    chosen = re.search(r"numgen random mod (\d+) vmap \{ (.*) \}", rule)
    if chosen:
        targets = [part.partition(" : goto ")[2] for part in chosen[2].split(", ")]
        assert len(targets) == int(chosen[1])
        return frozenset(
            rule.rpartition(" ")[2]
            for target in targets
            for rule in table.chains[target]
            if " dnat to " in rule
        )
    goto = re.search(r"goto (\S+)$", rule)
    if goto and not goto[1].startswith("endpoint-"):
        found = [_endpoints(table, rule, key) for rule in table.chains[goto[1]]]
        return next((f for f in found if f is not None), None)
    return None


def promise(table: Table, verdict: str, key: str) -> Promise:
    """Returns what ``verdict`` (``goto CHAIN``) does to a packet that was dialled as ``key``."""
    strangers = pods = None
    masqueraded = ""
    # newer releases mark what strangers send to ClusterIPs before they look a Service up
    before = table.chains.get("services", [""])[0].startswith("ip daddr @cluster-ips ip saddr !=")
    if before and key.partition(" ")[0] in table.elements["cluster-ips"]:
        masqueraded = "strangers"
    for rule in table.chains[verdict.removeprefix("goto ")]:
        if "jump mark-for-masquerade" in rule or "meta mark set meta mark | 0x" in rule:
            masqueraded = (
                "local"
                if "fib saddr type local" in rule
                else "strangers"
                if "ip saddr !=" in rule
                else "always"
            )
        found = _endpoints(table, rule, key)
        if rule.startswith("ip saddr 10.244.0.0/16 "):
            pods = found
        elif not rule.startswith(("fib ", "ip saddr ")):
            strangers = found if found is not None else strangers
    return Promise(strangers, masqueraded, pods)
