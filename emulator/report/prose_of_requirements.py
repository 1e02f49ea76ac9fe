"""Writes the sentences of the Kubernetes network model, and the facts that break them. Pure.

The sentences are those of https://kubernetes.io/docs/concepts/services-networking/ ("The Kubernetes network
model").
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import printable
from ..model.requirements import (
    Breach,
    Disguised,
    Lost,
    LostRequest,
    Misknown,
    Misplaced,
    Missed,
    Sentence,
    Stuck,
    Translated,
)
from ..model.results import Requirement
from .prose import label_of
from .prose_of_verdicts import say_ending
from .timeline import clock

_SENTENCES: Mapping[Sentence, str] = {
    Sentence.PODS_REACH_PODS: "Every Pod reaches every other Pod, on any node, without NAT.",
    Sentence.NODES_REACH_PODS: "Every node reaches every Pod without NAT.",
    Sentence.SAME_ADDRESS: "The address that a Pod sees as its own is the one that others see it as.",
    Sentence.OWN_INTERFACE: (
        "A Pod's address is on an interface of the Pod's network namespace, and on no other."
    ),
    Sentence.NO_INTERFACE: "A ClusterIP is on no interface anywhere.",
    Sentence.ROLLED_OUT: "{}: the roll-out ends within its progress deadline.",
    Sentence.TRAFFIC: "{}: {} of its requests {} lost while the step goes on.",
}
_NOTHING: Mapping[Sentence, str] = {
    Sentence.PODS_REACH_PODS: "no flow from a Pod to another Pod's address was followed",
    Sentence.NODES_REACH_PODS: "no flow from a node to a Pod's address was followed",
    Sentence.SAME_ADDRESS: "no Pod was heard by another",
    Sentence.OWN_INTERFACE: "there is no Pod with a network of its own",
    Sentence.NO_INTERFACE: "there is no Service with a ClusterIP",
    Sentence.ROLLED_OUT: "it was not looked at",
    Sentence.TRAFFIC: "no request was sent, or frames were lost",
}


def say_sentence(requirement: Requirement) -> str:
    """Returns the sentence of the network model, as far as the proxy's mode keeps it."""
    if interface := requirement.service_interface:
        return (
            "A ClusterIP is on no interface but the nodes' own "
            f"({requirement.mode} mode has them on {interface})."
        )
    most = requirement.most
    few = "none" if not most else f"at most {most}"
    return _SENTENCES[requirement.sentence].format(requirement.about, few, "are" if most > 1 else "is")


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
        case Lost(sent, lost, _, first):
            return f"{lost} of {sent} lost; {_say_request(first)}"
        case Stuck(text):
            return text
        case Misplaced(ip, owner, netns, missing=True):
            return f"{ip} of {label_of(owner)} is on no interface of {netns}"
        case Misplaced(ip, owner, netns):
            too = " too" if owner.kind == "Pod" else ""
            return f"{ip} of {label_of(owner)} is on an interface of {netns}{too}"


def _say_request(request: LostRequest) -> str:
    """Returns the first lost request: when it was sent, how it ended, where it was seen last, and when its
    endpoint went.
    """
    said = f"the first at {clock(request.at)} from {request.src} to {request.dst}: {request.how}"
    if hop := request.last:
        said += f", last seen at {hop.netns}/{hop.interface} {hop.direction}"
    if request.endpoint:
        said += f"; it was led to {request.endpoint}"
    told: dict[str, list[str]] = {}
    for one in request.events:
        told.setdefault(f"{one.kind} {one.name}".strip(), []).append(f"{one.what} {clock(one.at)}")
    for who, what in told.items():
        said += f"; {who}: {', '.join(what)}"
    return printable(said)
