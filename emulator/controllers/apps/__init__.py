"""Holds the controllers of a cluster that lives, as kube-controller-manager runs them. Pure: each reads the
store, and writes documents to it; the plane says the time.
"""

from __future__ import annotations

from ..plane import Controller
from . import (
    collector,
    cronjob,
    daemonset,
    deployment,
    disruption,
    endpoints,
    events,
    job,
    namespaces,
    replicaset,
    servicecidrs,
    statefulset,
    taints,
)

# in the order in which they run: whoever sees Pods through another's status runs after it
APPS: tuple[Controller, ...] = (
    namespaces.CONTROLLER,
    taints.CONTROLLER,
    replicaset.CONTROLLER,
    deployment.CONTROLLER,
    statefulset.CONTROLLER,
    daemonset.CONTROLLER,
    cronjob.CONTROLLER,
    job.CONTROLLER,
    disruption.CONTROLLER,
    endpoints.CONTROLLER,
    servicecidrs.CONTROLLER,
    collector.CONTROLLER,
    events.CONTROLLER,
)
