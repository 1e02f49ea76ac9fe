"""Writes the sentences of the Kubernetes network model, and the facts that break them. Pure.

The sentences are those of https://kubernetes.io/docs/concepts/services-networking/ ("The Kubernetes network
model").
"""

from __future__ import annotations

from collections.abc import Mapping

from ..model.requirements import Breach, Disguised, Misknown, Misplaced, Missed, Sentence, Translated
from ..model.results import Requirement
from .prose import label_of
from .prose_of_verdicts import say_ending

_SENTENCES: Mapping[Sentence, str] = {
    Sentence.PODS_REACH_PODS: "Every Pod reaches every other Pod, on any node, without NAT.",
    Sentence.NODES_REACH_PODS: "Every node reaches every Pod without NAT.",
    Sentence.SAME_ADDRESS: "The address that a Pod sees as its own is the one that others see it as.",
    Sentence.OWN_INTERFACE: (
        "A Pod's address is on an interface of the Pod's network namespace, and on no other."
    ),
    Sentence.NO_INTERFACE: "A ClusterIP is on no interface anywhere.",
}
_NOTHING: Mapping[Sentence, str] = {
    Sentence.PODS_REACH_PODS: "no flow from a Pod to another Pod's address was followed",
    Sentence.NODES_REACH_PODS: "no flow from a node to a Pod's address was followed",
    Sentence.SAME_ADDRESS: "no Pod was heard by another",
    Sentence.OWN_INTERFACE: "there is no Pod with a network of its own",
    Sentence.NO_INTERFACE: "there is no Service with a ClusterIP",
}


def say_sentence(requirement: Requirement) -> str:
    """Returns the sentence of the network model, as far as the proxy's mode keeps it."""
    if interface := requirement.service_interface:
        return (
            "A ClusterIP is on no interface but the nodes' own "
            f"({requirement.mode} mode has them on {interface})."
        )
    return _SENTENCES[requirement.sentence]


def say_requirement(requirement: Requirement) -> str:
    """Returns the fact that breaks ``requirement``, or what is missing ("" if it is kept)."""
    if requirement.breach is None:
        return _NOTHING[requirement.sentence] if requirement.verdict == "unknown" else ""
    more = f" (and {requirement.more} more)" if requirement.more else ""
    return f"{_say_breach(requirement.breach)}{more}"


def _say_breach(breach: Breach) -> str:
    match breach:
        case Translated(flow, change):
            return f"{flow}: {change}"
        case Missed(flow, outcome, ending):
            return f"{flow}: {outcome}, {say_ending(ending)}"
        case Disguised(flow, seen, sent):
            return f"{flow}: {seen} was seen, {sent} was sent"
        case Misknown(client, own, server, seen):
            return f"{client} has {', '.join(sorted(own)) or 'no address'}, and {server} saw {seen}"
        case Misplaced(ip, owner, netns, missing=True):
            return f"{ip} of {label_of(owner)} is on no interface of {netns}"
        case Misplaced(ip, owner, netns):
            too = " too" if owner.kind == "Pod" else ""
            return f"{ip} of {label_of(owner)} is on an interface of {netns}{too}"
