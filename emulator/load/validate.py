"""Validates one object by Kubernetes' own rules where it has any: names, labels, ports, addresses. Pure.

The result has its addresses and prefixes in canonical form, its namespace filled in, and 0 or "" of an
optional port unset. Rules that need other objects (a node port given twice, a Pod that a FlowCheck names) are
checked by the controllers.

The rules are those of kubernetes/kubernetes v1.30: ``apimachinery/pkg/util/validation`` and
``pkg/apis/{core,apps,discovery}/validation``. Every name that passes is safe as a file name, in a rule and on
a command line: it has no quote, blank, control character or leading "-".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from ..objects.config import ClusterConfig, FlowCheck, KubeProxyConfiguration
from ..objects.kinds import Endpoints, EndpointSlice, Namespace, Node, Pod, Service, Workload
from ..objects.metallb import IPAddressPool, L2Advertisement
from .faults import Fault, Oddity
from .rules.checks import Checks
from .rules.cluster import check_cluster, check_proxy
from .rules.flow_checks import check_flow_check
from .rules.metallb import check_l2_advertisement, check_pool
from .rules.pods import (
    check_cron_job,
    check_namespace,
    check_node,
    check_pod,
    check_workload,
)
from .rules.services import check_endpoint_slice, check_endpoints, check_service

T = TypeVar("T")


def validate(
    value: T, written: Mapping[str, Any], *, namespaced: bool
) -> tuple[T, list[Fault], list[Fault | Oddity]]:
    """Returns ``value``, which was decoded from the manifest ``written``, in canonical form, its faults, and
    its oddities that do not stop it from being read.
    """
    checks = Checks(written)
    return _RULES[type(value)](value, namespaced, checks), checks.faults, checks.notices


def validate_unread(written: Mapping[str, Any]) -> Iterator[Fault]:
    """Yields what an API server refuses of a manifest whose kind podwire does not read."""
    version = written.get("apiVersion")
    if written.get("kind") == "CronJob" and isinstance(version, str) and version.startswith("batch/"):
        yield from check_cron_job(written)


_RULES: Mapping[type[Any], Callable[[Any, bool, Checks], Any]] = {
    Node: check_node,
    Namespace: check_namespace,
    Pod: check_pod,
    Workload: check_workload,
    Service: check_service,
    EndpointSlice: check_endpoint_slice,
    Endpoints: check_endpoints,
    IPAddressPool: check_pool,
    L2Advertisement: check_l2_advertisement,
    ClusterConfig: check_cluster,
    KubeProxyConfiguration: check_proxy,
    FlowCheck: check_flow_check,
}
