"""Plans load balancers without add-ons: gives LoadBalancer Services their addresses, and chooses the node
that announces each, and the nodes to which a balancer in the path connects.

There are two kinds of address (``ipMode``). A VIP belongs to the cluster's nodes; if it lies in the host
network one of them, the *speaker*, answers ARP for it. An address whose ipMode is Proxy belongs to the
*balancer*, a machine of its own on the host network, which connects to node ports. Sources: MetalLB v0.14
(``controller/service.go``: the address; ``speaker/layer2_controller.go``: the choice of the speaker),
Kubernetes' cloud-provider (``controllers/service``: the nodes that a cloud's balancer gets) and KEP-1860
(ipMode). Invariant: an address is given to one Service, or to several that share it, and belongs to no node,
client or router.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from ..cluster.state import Listener
from ..errors import Words, worded
from ..load.faults import path_text
from ..net import Address, Prefix, addresses_of
from ..objects.families import BUILT, is_other
from ..objects.kinds import (
    EndpointSlice,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    Origin,
    Service,
    ServiceStatus,
)
from ..objects.references import service_ref
from ..objects.warnings import Code, NoAddress
from .findings import Draft, Findings
from .pools import Pools
from .shape import EXCLUDED_LABEL
from .sharing import Claims, Unfit, annotation

# MetalLB's; spec.loadBalancerIP is deprecated
IPS_ANNOTATION, POOL_ANNOTATION = "loadBalancerIPs", "address-pool"
SHARING_HINT = (
    "ask for another one, or let both share it: the same metallb.io/allow-shared-ip, and ports of their own"
)

# the problem of two Services that ask for one address and cannot share it: the address, the other one, a port
_TWO_WANT_IT = {
    NoAddress.TAKEN: "{} is what is taken",
    NoAddress.NOT_SHARED: "{} is what Service {} has, and the two do not share it",
    NoAddress.OTHER_SELECTOR: (
        "{} is what Service {} has: under externalTrafficPolicy Local only Services with the same selector "
        "share an address"
    ),
    NoAddress.SAME_PORT: "{} is what Service {} shares, but for {}",
}

# --- addresses --------------------------------------------------------------------------------------------


def give_addresses(
    drafts: Sequence[Draft[Service]],
    pools: Pools,
    hosts: Prefix,
    taken: Collection[str],
    findings: Findings,
) -> list[Draft[Service]]:
    """Returns every LoadBalancer Service with an address in its status: the one it has, the one it asks for,
    else the first one of a pool that it may have.

    As in a cluster, a Service whose address cannot be had stays without, with a notice. Two Services of the
    user's that ask for one address and do not share it are a problem. A Service from an API server (it has a
    uid) without an address got none there, and stays so unless the user configured the pools.
    """
    claims = Claims({*taken, str(hosts.first), str(hosts.last)})
    for draft in drafts:
        for entry in draft.object.status.loadBalancer.ingress:
            claims.add(entry.ip, draft.object)
    waiting = [index for index, draft in enumerate(drafts) if _wants_address(draft.object, pools, findings)]
    given: dict[int, str] = {}
    asking = {index for index in waiting if _asked(drafts[index].object)[1]}
    for index in sorted(waiting, key=lambda index: index not in asking):
        service = drafts[index].object
        if index in asking:
            ip = _asked_address(drafts[index], pools, claims, findings)
        else:
            ip = _any_address(service, pools, claims, findings)
        if ip:
            given[index] = ip
            claims.add(ip, service)
    return [
        replace(d, object=_with_address(d.object, given[i], pools)) if i in given else d
        for i, d in enumerate(drafts)
    ]


def _wants_address(service: Service, pools: Pools, findings: Findings) -> bool:
    if service.spec.type != "LoadBalancer" or not service.addressed or service.status.loadBalancer.ingress:
        return False
    if service.metadata.uid and not pools.said:
        return False
    if service.spec.loadBalancerClass:
        unfit = Unfit(NoAddress.LEFT_TO_CLASS)
        _warn(service, "spec.loadBalancerClass", unfit, service.spec.loadBalancerClass, findings)
    return not service.spec.loadBalancerClass


def _asked(service: Service) -> tuple[str, str]:
    """Returns the path and the address that ``service`` asks for; ("", "") if it does not."""
    key, text = annotation(service, IPS_ANNOTATION)
    places = (
        (path_text(("metadata", "annotations", key)), text),
        ("spec.loadBalancerIP", service.spec.loadBalancerIP),
    )
    wishes = ((path, address.strip()) for path, text in places for address in text.split(","))
    return next(((path, wish) for path, wish in wishes if wish and not is_other(wish)), ("", ""))


def _asked_address(draft: Draft[Service], pools: Pools, claims: Claims, findings: Findings) -> str:
    """Returns the address that a Service asks for; "" if it cannot have it."""
    service = draft.object
    path, wish = _asked(service)
    unfit = _unfit_for_pools(service, wish, pools)
    refused = unfit or claims.refusal(wish, service)
    if refused is None:
        return wish
    holds = not unfit and claims.holders(wish) and not service.metadata.uid
    if holds:
        what = worded(_TWO_WANT_IT[refused.why], wish, Words(refused.holder), Words(refused.port))
        findings.problem(draft.origin, draft.base + path, what, SHARING_HINT)
    else:
        _warn(service, path, refused, wish, findings)
    return ""


def _unfit_for_pools(service: Service, wish: str, pools: Pools) -> Unfit | None:
    """Returns why no pool has ``wish`` for ``service``."""
    try:
        address = Address(wish)
    except ValueError:
        return Unfit(NoAddress.UNREADABLE)
    pool = pools.of(str(address))
    if pool is None:
        return Unfit(NoAddress.IN_NO_POOL, pools.names)
    if not pool.is_for(service):
        return Unfit(NoAddress.POOL_FOR_OTHERS, (str(pool),))
    if service.spec.loadBalancerIP and annotation(service, IPS_ANNOTATION)[1]:
        return Unfit(NoAddress.SEVERAL_REQUESTS)
    named = annotation(service, POOL_ANNOTATION)[1]
    return Unfit(NoAddress.OTHER_POOL, (named,)) if named and pool.name not in ("", named) else None


def _any_address(service: Service, pools: Pools, claims: Claims, findings: Findings) -> str:
    """Returns the first address that ``service`` may have in the pool that it asks for, else in any."""
    unfit, candidates = Unfit(NoAddress.NONE_FOR_IT, pools.names), pools.automatic(service)
    if (name := annotation(service, POOL_ANNOTATION)[1]) and pools.have_names:
        named = pools.named(name)
        unfit = Unfit(NoAddress.NAMED_FOR_OTHERS if named else NoAddress.NAMED_IS_MISSING, (name,))
        candidates = (named,) if named and named.is_for(service) else ()
    ip = next((ip for pool in candidates if (ip := claims.first(pool, service))), "")
    if not ip:
        if candidates:
            unfit = Unfit(NoAddress.NONE_LEFT, replace(pools, pools=candidates).names)
        _warn(service, "", unfit, "", findings)
    return ip


def _warn(service: Service, field: str, unfit: Unfit, asked: str, findings: Findings) -> None:
    """Warns that ``service`` gets no address; ``asked`` is the address or class that it asks for."""
    findings.warn(
        Code.NO_LOAD_BALANCER_ADDRESS,
        service_ref(service.key, field),
        why=unfit.why,
        asked=asked,
        pools=unfit.pools,
        holder=unfit.holder,
        port=unfit.port,
    )


def _with_address(service: Service, ip: str, pools: Pools) -> Service:
    ingress = LoadBalancerIngress(ip=ip, ipMode="Proxy" if pools.mode == "Proxy" else "VIP")
    return replace(service, status=ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=(ingress,))))


# --- who announces ----------------------------------------------------------------------------------------


def choose_speakers(
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
    nodes: Sequence[Node],
    pools: Pools,
    hosts: Prefix,
    taken: Collection[str],
) -> dict[Address, str]:
    """Returns, by address, the node that answers ARP for it: every VIP in ``hosts`` that no machine has, by
    MetalLB's choice among the nodes that may announce the address's pool. (An address of no pool was given
    elsewhere; any node may.)

    All speakers order the possible nodes by a hash of node and address, and the first one announces. So they
    agree without messages, addresses are spread, and only the addresses of a removed node move. A Service
    without a serving endpoint is not announced.
    """
    services = [service for service in services if _balanced(service)]
    announced = {service.key for service in services}
    serving: dict[str, set[str]] = {}
    for item in slices if announced else ():
        key = f"{item.metadata.namespace}/{item.serviceName}"
        for endpoint in item.endpoints if key in announced else ():
            if endpoint.ready or endpoint.serving:
                serving.setdefault(key, set()).add(endpoint.nodeName or "")
    by_name = {node.name: node for node in nodes if may_balance(node)}
    speakers: dict[Address, str] = {}
    for service in services:
        ingress = service.status.loadBalancer.ingress
        vips = addresses_of(BUILT, (i.ip for i in ingress if i.ipMode == "VIP"))
        holders = serving.get(service.key, set())
        local = service.spec.externalTrafficPolicy == "Local"
        eligible = [name for name in by_name if holders and (name in holders or not local)]
        for ip in vips:
            pool = pools.of(ip)
            announcing = [
                name for name in eligible if pool is None or pool.may_be_announced_by(by_name[name])
            ]
            if announcing and ip in hosts and ip not in taken:
                speakers.setdefault(
                    ip, min(announcing, key=lambda name: sha256(f"{name}#{vips[0]}".encode()).digest())
                )
    return speakers


def may_balance(node: Node) -> bool:
    """Returns whether traffic from outside may be led to ``node``: it is ready, has a network, and has no
    label that excludes it.
    """
    unavailable = any(c.type == "NetworkUnavailable" and c.status == "True" for c in node.status.conditions)
    return node.ready and not unavailable and EXCLUDED_LABEL not in node.metadata.labels


def _balanced(service: Service) -> bool:
    return service.spec.type == "LoadBalancer" and service.proxied


# --- the balancer in the path -----------------------------------------------------------------------------


def address_balancer(
    services: Iterable[Service],
    pools: Pools,
    hosts: Prefix,
    taken: Collection[str],
    origin: Origin,
    findings: Findings,
) -> Address | None:
    """Returns the balancer's own address: the last one of ``hosts`` that no machine has nor a pool holds.
    None if no Service needs a balancer.
    """
    services = list(services)
    if not any(service.proxy_ips(BUILT) for service in services):
        return None
    used = {*taken, *(i.ip for s in services for i in s.status.loadBalancer.ingress)}
    descending = (
        Address.of_number(hosts.family, number)
        for numbers in reversed(pools.outside(hosts))
        for number in reversed(numbers)
    )
    ip = next((ip for ip in descending if ip not in used), None)
    if ip is None:
        what = worded("hostSubnet {} has no address left for the balancer", hosts)
        findings.problem(
            origin, "networking.hostSubnet", what, "set networking.hostSubnet to a shorter prefix"
        )
        return None
    return ip


def choose_targets(
    services: Iterable[Service], nodes: Sequence[Node], listeners: Iterable[Listener], findings: Findings
) -> Mapping[str, tuple[str, ...]]:
    """Returns, by Service, the nodes to whose node ports the balancer connects: all that may be, under eTP
    Local those whose health check answers 200.
    """
    able = [node.name for node in nodes if may_balance(node)]
    healthy = {
        (li.healthCheck.service, li.node)
        for li in listeners
        if li.healthCheck is not None and li.healthCheck.localEndpoints and not li.refused
    }
    targets: dict[str, tuple[str, ...]] = {}
    for service in services:
        if not service.proxy_ips(BUILT):
            continue
        if any(not port.nodePort for port in service.spec.ports):
            findings.warn(Code.NO_NODE_PORTS, service_ref(service.key, "spec"))
        local = service.spec.externalTrafficPolicy == "Local"
        targets[service.key] = tuple(name for name in able if not local or (service.key, name) in healthy)
    return targets
