"""Starts the Jobs of CronJobs at their times (pkg/controller/cronjob). A schedule without time zone is of
UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timezone, tzinfo
from zoneinfo import ZoneInfo

from ...store.manifests import render
from ...store.objects import Key, Stored
from ...store.store import Event
from ..plane import Controller, ControlPlane
from .children import Children, concerned
from .deletion import delete_object
from .documents import (
    Document,
    condition,
    controller_of,
    controller_reference,
    format_time,
    number,
    parse_time,
    part,
)
from .events import record
from .schedule import Schedule

NAME = "cronjobs"
_COMPONENT = "cronjob-controller"
_SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_KEPT = {"successfulJobsHistoryLimit": ("Complete", 3), "failedJobsHistoryLimit": ("Failed", 1)}


def _run(plane: ControlPlane, events: Sequence[Event] | None) -> None:
    keys: set[Key] | None = None if events is None else set()
    for event in events or ():
        reference = controller_of(event.stored)
        if keys is not None and event.stored.key.kind == "CronJob":
            keys.add(event.stored.key)
        elif keys is not None and reference is not None:
            keys.add(Key(reference.kind, event.stored.key.namespace, reference.name))
    changed = [one for one in plane.store.list("CronJob") if keys is None or one.key in keys]
    jobs = Children(plane, "Job") if changed else None
    for one in changed:
        if jobs is not None and one.deletionTimestamp is None:
            _sync(plane, one, jobs.of(one))


def _sync(plane: ControlPlane, one: Stored, jobs: list[Stored]) -> None:
    document = render(one)
    spec, status = part(document, "spec"), {**part(document, "status")}
    running = []
    listed = {row.get("uid") for row in status.get("active") or []}
    for job in jobs:
        ended = _end_of(job)
        if not ended:
            running.append(job)
        elif job.uid in listed:
            _tell(
                plane, document, "SawCompletedJob", f"Saw completed job: {job.key.name}, condition: {ended}"
            )
            if ended == "Complete":
                status["lastSuccessfulTime"] = part(job.manifest, "status").get("completionTime", plane.now)
    _clean_up(plane, document, jobs)
    if not spec.get("suspend"):
        running += _start(plane, one, document, status, running)
    status["active"] = [_reference(job) for job in running if plane.store.get(job.key)]
    if not status["active"]:
        del status["active"]
    document["status"] = status
    plane.store.write(document)


def _start(
    plane: ControlPlane, one: Stored, document: Document, status: Document, running: list[Stored]
) -> list[Stored]:
    """Starts the Job of the latest time that was not met, as the concurrency policy allows; asks to run again
    at the next time. Returns the Job, if one was started.
    """
    spec = part(document, "spec")
    schedule, now = _schedule(spec), parse_time(plane.now)
    if schedule is None:
        _tell(
            plane,
            document,
            "UnparseableSchedule",
            f"unparseable schedule: {spec.get('schedule')!r}",
            "Warning",
        )
        return []
    following = schedule.after(now)
    if following is not None:
        plane.wake((following - now).total_seconds(), NAME)
    last = str(status.get("lastScheduleTime") or one.creationTimestamp)
    due = schedule.latest(parse_time(last), now)
    if due is None:
        return []
    limit = spec.get("startingDeadlineSeconds")
    if isinstance(limit, int) and (now - due).total_seconds() > limit:
        message = f"Missed scheduled time to start a job: {due:%a, %d %b %Y %H:%M:%S} UTC"
        _tell(plane, document, "MissSchedule", message, "Warning")
        return []
    policy = spec.get("concurrencyPolicy", "Allow")
    if policy == "Forbid" and running:
        message = "Not starting job because prior execution is running and concurrency policy is Forbid"
        _tell(plane, document, "JobAlreadyActive", message)
        return []
    if policy == "Replace":
        for job in running:
            delete_object(plane, job)
            _tell(plane, document, "SuccessfulDelete", f"Deleted job {job.key.name}")
    name = f"{one.key.name}-{int(due.timestamp()) // 60}"
    status["lastScheduleTime"] = format_time(due)
    if plane.store.get(Key("Job", one.key.namespace, name)) is not None:
        return []
    template = part(spec, "jobTemplate")
    metadata = part(template, "metadata")
    job = plane.store.create(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name,
                "namespace": one.key.namespace,
                "labels": part(metadata, "labels"),
                "annotations": {**part(metadata, "annotations"), _SCHEDULED_AT: format_time(due)},
                "ownerReferences": [controller_reference(one, "batch/v1")],
            },
            "spec": part(template, "spec"),
        },
        now=plane.now,
    )
    _tell(plane, document, "SuccessfulCreate", f"Created job {name}")
    return [job]


def _schedule(spec: Document) -> Schedule | None:
    """Returns the schedule of a CronJob; None if it, or its time zone, cannot be read."""
    zone: tzinfo = timezone.utc
    try:
        if spec.get("timeZone"):
            zone = ZoneInfo(str(spec["timeZone"]))
        return Schedule(str(spec.get("schedule")), zone)
    except (ValueError, KeyError, OSError):  # a KeyError: there is no such zone
        return None


def _clean_up(plane: ControlPlane, document: Document, jobs: list[Stored]) -> None:
    """Deletes the oldest ended Jobs beyond the history limits."""
    for field, (type_, default) in _KEPT.items():
        limit = number(part(document, "spec").get(field), default)
        ended = sorted((job for job in jobs if _end_of(job) == type_), key=lambda job: job.created)
        for job in ended[: max(0, len(ended) - limit)]:
            delete_object(plane, job)
            _tell(plane, document, "SuccessfulDelete", f"Deleted job {job.key.name}")


def _end_of(job: Stored) -> str:
    """Returns the condition with which a Job has ended; "" if it has not."""
    for type_ in ("Complete", "Failed"):
        found = condition(part(job.manifest, "status"), type_)
        if found is not None and found.get("status") == "True":
            return type_
    return ""


def _reference(job: Stored) -> Document:
    return {
        "kind": "Job",
        "namespace": job.key.namespace,
        "name": job.key.name,
        "uid": job.uid,
        "apiVersion": "batch/v1",
        "resourceVersion": str(job.created),
    }


def _tell(plane: ControlPlane, document: Document, reason: str, message: str, type_: str = "Normal") -> None:
    record(plane, document, type_, reason, message, _COMPONENT)


CONTROLLER = Controller(NAME, _run, concerned(("CronJob", "Job")))
