"""Defines reasons: why a flow is expected to end as it is. Pure.

A reason is a value: a row of :class:`Why`, which names the section of docs/semantics, and the objects,
addresses and endpoints that it is about. ``report.prose`` writes the sentence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from ..net import Endpoint
from ..objects.config import FlowProtocol, ProxyMode, WantedOutcome
from ..objects.references import ObjectRef
from .flows import ServiceAddress
from .frames import Health


class Why(Enum):
    """Lists the kinds of reason, each with the section of docs/semantics that it rests on (0: none)."""

    section: int

    def __new__(cls, word: str, section: int) -> Why:
        """Makes ``word`` the value and keeps ``section`` beside it."""
        member = object.__new__(cls)
        member._value_ = word
        member.section = section
        return member

    # source addresses
    CLUSTER_IP_FROM_POD = "cluster-ip-from-pod", 5
    CLUSTER_IP_FROM_NODE = "cluster-ip-from-node", 5
    CLUSTER_IP_FROM_OUTSIDE = "cluster-ip-from-outside", 5
    CLUSTER_FROM_POD = "cluster-from-pod", 5
    CLUSTER_FROM_NODE = "cluster-from-node", 5
    CLUSTER_FROM_OUTSIDE = "cluster-from-outside", 5
    LOCAL_FROM_POD = "local-from-pod", 5
    LOCAL_FROM_NODE = "local-from-node", 5
    LOCAL_FROM_OUTSIDE = "local-from-outside", 5
    LOCAL_FOR_EVERYONE_FROM_POD = "local-for-everyone-from-pod", 13
    LOCAL_FOR_EVERYONE_FROM_NODE = "local-for-everyone-from-node", 13
    LOCAL_FOR_EVERYONE_FROM_OUTSIDE = "local-for-everyone-from-outside", 13
    LOCAL_FOR_EVERYONE_HAIRPIN = "local-for-everyone-hairpin", 13
    MASQUERADE_ALL = "masquerade-all", 5
    NO_LOCAL_DETECTOR = "no-local-detector", 5
    HAIRPIN = "hairpin", 5
    DELIVERED_LOCALLY = "delivered-locally", 0
    # endpoints
    AFFINITY = "affinity", 12
    REPLY_PAST_NODE = "reply-past-node", 5
    REPLY_LOST = "reply-lost", 5
    NO_CONNECTION_WITH = "no-connection-with", 13
    UNSERVED = "unserved", 0
    LEADS_TO_ENDPOINTS = "leads-to-endpoints", 0
    NESTED = "nested", 0
    NO_ENDPOINT = "no-endpoint", 7
    NO_ENDPOINT_OWN_PACKETS = "no-endpoint-own-packets", 7
    NO_ENDPOINT_ALL_ADDRESSES = "no-endpoint-all-addresses", 0
    NO_LOCAL_ENDPOINT = "no-local-endpoint", 7
    NO_LOCAL_ENDPOINT_ALL_ADDRESSES = "no-local-endpoint-all-addresses", 0
    SOURCE_RANGES = "source-ranges", 6
    # deviations of one mode
    EMPTY_LOCAL_LIST_REJECTED = "empty-local-list-rejected", 13
    EMPTY_LOCAL_LIST_ANY = "empty-local-list-any", 13
    NOT_TAKEN = "not-taken", 13
    SENDS_FROM_SERVICE_ADDRESS = "sends-from-service-address", 13
    ONLY_ITSELF = "only-itself", 13
    SERVICE_ADDRESS_OTHER_PORT = "service-address-other-port", 13
    MARTIAN_SOURCE = "martian-source", 13
    ENDS_WITH_SERVICE = "ends-with-service", 13
    SHARED_ADDRESS = "shared-address", 13
    SHARED_MACHINE_ADDRESS = "shared-machine-address", 13
    NO_SCTP = "no-sctp", 15
    EXTERNAL_IP_LEFT_ALONE = "external-ip-left-alone", 15
    NO_HEALTH_CHECK = "no-health-check", 15
    PROXY_ACCEPTS = "proxy-accepts", 15
    PROXY_CLOSES = "proxy-closes", 15
    PROXY_SILENT = "proxy-silent", 15
    PROXY_REPLY_UNTRANSLATED = "proxy-reply-untranslated", 15
    # addresses that no Service takes up
    LEAVES_CLUSTER = "leaves-cluster", 0
    POD_NETWORK = "pod-network", 0
    NO_SERVICE = "no-service", 0
    LOOPBACK = "loopback", 0
    CLOSED_PORT = "closed-port", 0
    CLOSED_PORT_ON_LOOPBACK = "closed-port-on-loopback", 0
    NODE_PORT_ELSEWHERE = "node-port-elsewhere", 9
    CLUSTER_IP_OTHER_PORT = "cluster-ip-other-port", 8
    CLUSTER_IP_PAST_NODES = "cluster-ip-past-nodes", 1
    NO_SUCH_CLUSTER_IP = "no-such-cluster-ip", 8
    NOT_ANNOUNCED = "not-announced", 0
    NO_NEIGHBOUR = "no-neighbour", 0
    NO_OWNER = "no-owner", 0
    # in front of others
    BALANCER_SOURCE_RANGES = "balancer-source-ranges", 14
    BALANCER_NO_NODE = "balancer-no-node", 14
    BALANCER_HIDES_CLIENTS = "balancer-hides-clients", 14
    THROUGH_BALANCER = "through-balancer", 0
    STALE_NEIGHBOUR = "stale-neighbour", 14
    CONTESTED = "contested", 0
    ON_LINK = "on-link", 0
    # open connections
    CONNECTION_KEPT = "connection-kept", 11
    CONNECTION_BOUND = "connection-bound", 0
    # others
    HEALTH_CHECK = "health-check", 10
    FLOW_CHECK = "flow-check", 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Describes one reason, and those that follow from it or stand beside it (``then``).

    ``objects`` are the Services, nodes and settings that decide it. ``at`` is the address and port dialled,
    ``endpoints`` are those that it is about. ``how`` is the kind of Service address dialled. ``mode`` is set
    where one mode of kube-proxy is the reason. ``no_route``: the router has no route to the address.
    """

    why: Why
    objects: tuple[ObjectRef, ...] = ()
    at: Endpoint | None = None
    protocol: FlowProtocol | None = None
    endpoints: tuple[Endpoint, ...] = ()
    how: ServiceAddress | None = None
    mode: ProxyMode | None = None
    outcome: WantedOutcome | None = None
    health: Health | None = None
    no_route: bool = False
    then: tuple[Reason, ...] = ()

    @property
    def section(self) -> int:
        """Returns the section of docs/semantics that the reason rests on (0: none)."""
        return self.why.section

    @property
    def sections(self) -> frozenset[int]:
        """Returns the sections of docs/semantics that the reason and those that follow rest on."""
        return frozenset(reason.section for reason in self.each() if reason.section)

    def each(self) -> Iterator[Reason]:
        """Yields the reason and all that follow it."""
        yield self
        for reason in self.then:
            yield from reason.each()

    def beside(self, *others: Reason | None) -> Reason:
        """Returns the reason with ``others`` after it (None: no other)."""
        return replace(self, then=(*self.then, *(other for other in others if other is not None)))

    @property
    def kinds(self) -> tuple[object, ...]:
        """Returns all that is the same where other objects and addresses are treated alike."""
        return (
            *(reason_kind for reason in self.each() for reason_kind in (reason.why, reason.no_route)),
            *(ref.field for reason in self.each() for ref in reason.objects if ref.field),
        )


def find(reason: Reason, kind: str) -> ObjectRef | None:
    """Returns the first object of ``kind`` that ``reason`` is about; None if there is none."""
    return next((ref for ref in reason.objects if ref.kind == kind), None)
