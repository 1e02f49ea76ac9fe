"""Reads what ``iptables-save`` prints, or a restore text, so that two of them can be compared."""

from __future__ import annotations

Tables = dict[str, dict[str, list[str]]]  # table → chain → rules

# Chains whose rules exclude each other, so that their order means nothing. KUBE-SERVICES of nat ends with a
# rule that must be last.
UNORDERED = {"KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL"}
LAST = "kubernetes service nodeports"


def parse(text: str) -> Tables:
    """Returns table → chain → rules in order. Comments, counters, policies and ``-F`` lines are left out."""
    tables: Tables = {}
    chains: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            chains = tables[line[1:]] = {}
        elif line.startswith(":"):
            chains[line[1:].split()[0]] = []
        elif line.startswith("-A "):
            _, chain, rule = line.split(" ", 2)
            chains[chain].append(rule)
    return tables


def normal(text: str) -> Tables:
    """Returns ``text`` parsed, with the rules of :data:`UNORDERED` chains sorted, and without built-in chains
    that hold nothing.
    """
    tables = parse(text)
    for name, chains in tables.items():
        for chain, rules in chains.items():
            if chain in UNORDERED:
                rules.sort(key=lambda rule: (LAST in rule, rule))
        tables[name] = {chain: rules for chain, rules in chains.items() if rules or chain.startswith("KUBE-")}
    return tables
