"""Admits manifests: turns one into its typed object, with defaults filled in, or into all of its faults.

Loading calls these functions for each document, and the store for each write: one set of rules for both.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from .faults import Fault, Oddity
from .rules.checks import LABEL, PATH_SEGMENT, Checks
from .schema import Kind, decode, decode_uninterpreted, identify, is_cluster_scoped, touches
from .validate import validate, validate_unread


class Admission(NamedTuple):
    """Holds what became of a manifest. ``object`` is None if it could not be read. ``notices`` are oddities
    that do not stop it from being read. ``ignored`` names fields of a cluster's or proxy's configuration that
    have no meaning here.
    """

    object: Any
    faults: list[Fault]
    notices: list[Fault | Oddity]
    ignored: tuple[str, ...] = ()


def admit(kind: Kind, manifest: Mapping[str, Any]) -> Admission:
    """Decodes ``manifest``, which is of ``kind``, then checks it by the rules of that kind."""
    decoded, faults, ignored = decode(kind, manifest)
    notices: list[Fault | Oddity] = []
    if decoded is not None:
        decoded, broken, notices = validate(decoded, manifest, namespaced=kind.namespaced)
        faults = faults + [
            fault for fault in broken if not any(touches(fault.path, faulty.path) for faulty in faults)
        ]
    return Admission(decoded, faults, notices, ignored)


def refused_unread(manifest: Mapping[str, Any]) -> list[Fault]:
    """Returns what an API server refuses of a manifest whose kind has no meaning here, the Job that a CronJob
    would make included.
    """
    faults = [*validate_unread(manifest)]
    spec = manifest.get("spec")
    template = spec.get("jobTemplate") if isinstance(spec, Mapping) else None
    if manifest.get("kind") != "CronJob" or not isinstance(template, Mapping) or not template.get("spec"):
        return faults
    job = {"apiVersion": "batch/v1", "kind": "Job", **template, "metadata": {"name": "job"}}
    kind = identify(job)
    if isinstance(kind, Kind):
        faults += [
            replace(fault, path=("spec", "jobTemplate", *fault.path)) for fault in admit(kind, job).faults
        ]
    return faults


def admit_uninterpreted(manifest: Mapping[str, Any]) -> Admission:
    """Admits an object of a kind without a meaning here: only its identity and its labels are checked."""
    decoded, faults = decode_uninterpreted(manifest)
    if decoded is None:
        return Admission(None, faults, [])
    checks = Checks(manifest)
    meta = decoded.metadata
    checks.name(("metadata", "name"), meta.name, PATH_SEGMENT)
    checks.labels(("metadata", "labels"), meta.labels)
    if is_cluster_scoped(decoded.kind, decoded.apiVersion):
        meta = replace(meta, namespace="")
    else:
        meta = replace(meta, namespace=meta.namespace or "default")
        checks.name(("metadata", "namespace"), meta.namespace, LABEL)
    return Admission(
        replace(decoded, metadata=meta), [*faults, *checks.faults, *refused_unread(manifest)], checks.notices
    )
