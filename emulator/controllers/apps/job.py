"""Runs Jobs to their completion (pkg/controller/job). A Pod's end is its status.phase, which its kubelet
writes; a finalizer keeps an ended Pod until it is counted, so each is counted once.

A Pod that is deleted before it ends counts as failed, and is replaced at once (podReplacementPolicy
TerminatingOrFailed). Left out: podFailurePolicy, successPolicy, backoffLimitPerIndex, managedBy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...objects.kinds import Workload
from ...store.manifests import render
from ...store.objects import Key, Stored
from ...store.store import Event
from ..plane import Controller, ControlPlane
from ..workloads import COMPLETION_INDEX, JOB_LABELS
from .children import Children, active, concerned, look_until_settled
from .deletion import delete_object, drop_finalizer
from .documents import (
    ENDED,
    Document,
    condition,
    controller_of,
    is_ready,
    number,
    part,
    restarts,
    rows,
    seconds_between,
    set_condition,
)
from .pods import RETRY, PodMaker, as_now, delete_pod, first_to_go, new_pod

NAME = "jobs"
TRACKING = "batch.kubernetes.io/job-tracking"  # the finalizer of a Pod that is not counted yet
_COMPONENT = "job-controller"
_BACKOFF_LIMIT = 6
_DELAY, _LONGEST_DELAY = 10, 600  # seconds after a failure, doubled with each further one
_UID_LABELS = ("batch.kubernetes.io/controller-uid", "controller-uid")
_REACHED = "Reached expected number of succeeded pods"
_MESSAGES = {
    "BackoffLimitExceeded": "Job has reached the specified backoff limit",
    "DeadlineExceeded": "Job was active longer than specified deadline",
}


def _run(plane: ControlPlane, events: Sequence[Event] | None) -> None:
    if events is None or any(one.type == "DELETED" and one.stored.key.kind == "Job" for one in events):
        _free_orphans(plane)

    def look(one: Stored, pods: Children) -> None:
        _Look(plane, one, pods).sync()

    look_until_settled(plane, events, "Job", ("Pod",), look)


def _free_orphans(plane: ControlPlane) -> None:
    """Lets go of Pods whose Job is gone: nobody counts their end any more."""
    for pod in plane.store.list("Pod"):
        owner = controller_of(pod) if TRACKING in pod.finalizers else None
        if owner is not None and plane.store.get(Key("Job", pod.key.namespace, owner.name)) is None:
            drop_finalizer(plane, pod, TRACKING)


class _Look:
    """Looks once at a Job. ``status`` is the one that it writes at the end."""

    def __init__(self, plane: ControlPlane, one: Stored, pods: Children) -> None:
        self.plane, self.stored = plane, one
        self.document = render(one)
        self.spec = part(self.document, "spec")
        self.status: Document = {**part(self.document, "status")}
        workload: Workload = one.object
        self.indexed = workload.spec.completionMode == "Indexed"
        self.completions = workload.spec.completions
        if self.completions is None and self.spec.get("parallelism") is None:
            self.completions = 1  # as the API server fills in
        self.parallelism = workload.spec.parallelism
        self.suspended = workload.spec.suspend
        self.own = pods.of(one)
        self.done = parse_indexes(self.status.get("completedIndexes"))
        self.maker = PodMaker(plane, one, _COMPONENT)

    def sync(self) -> None:
        """Does the next step, and writes the status."""
        if finished := self._finished():
            self._expire(finished)
            self._count()  # Pods that nobody waits for any more
            return
        self._note_start()
        self._count()
        if self.stored.deletionTimestamp is None:
            self._decide()
        if self.maker.failure:
            self.plane.wake(RETRY, NAME)
        self._report()

    def _is(self, type_: str) -> bool:
        found = condition(self.status, type_)
        return found is not None and found.get("status") == "True"

    def _set(self, type_: str, value: str, reason: str, message: str) -> None:
        now = self.plane.now
        set_condition(self.status, type_, value, reason, message, now, lastProbeTime=now)

    def _finished(self) -> str:
        """Returns when the Job ended; "" if it has not."""
        for type_ in ("Complete", "Failed"):
            found = condition(self.status, type_)
            if found is not None and found.get("status") == "True":
                return str(found.get("lastTransitionTime") or self.plane.now)
        return ""

    def _expire(self, finished: str) -> None:
        """Deletes a Job ttlSecondsAfterFinished after its end (pkg/controller/ttlafterfinished)."""
        limit = self.spec.get("ttlSecondsAfterFinished")
        if not isinstance(limit, int) or self.stored.deletionTimestamp:
            return
        left = limit - seconds_between(finished, self.plane.now)
        if left > 0:
            self.plane.wake(left, NAME)
        else:
            delete_object(self.plane, self.stored, foreground=True)

    # --- what has happened --------------------------------------------------------------------------------

    def _note_start(self) -> None:
        if self.suspended:
            if not self._is("Suspended"):
                self._set("Suspended", "True", "JobSuspended", "Job suspended")
                self.maker.tell("Normal", "Suspended", "Job suspended")
            self.status.pop("startTime", None)
            return
        if self._is("Suspended"):
            self._set("Suspended", "False", "JobResumed", "Job resumed")
            self.maker.tell("Normal", "Resumed", "Job resumed")
        self.status.setdefault("startTime", self.plane.now)

    def _count(self) -> None:
        """Counts the Pods that have ended since the last look, and lets go of them."""
        ending = self._is("FailureTarget") or self._is("SuccessCriteriaMet") or not self.suspended
        for pod in self.own:
            if TRACKING not in pod.finalizers:
                continue
            phase = pod.object.status.phase
            if phase == "Succeeded":
                index = index_of(pod)
                if not self.indexed:
                    self.status["succeeded"] = number(self.status.get("succeeded"), 0) + 1
                elif index is not None and self.completions is not None and index < self.completions:
                    self.done.add(index)
            elif phase == "Failed" or pod.deletionTimestamp:
                if phase == "Failed" or ending:
                    self.status["failed"] = number(self.status.get("failed"), 0) + 1
            else:
                continue
            drop_finalizer(self.plane, pod, TRACKING)
        self.own = as_now(self.plane, self.own)
        if self.indexed:
            self.status["succeeded"] = len(self.done)
            self.status["completedIndexes"] = format_indexes(self.done)

    def _failure(self) -> str:
        """Returns the reason for which the Job has failed; "" if it has not."""
        limit = number(self.spec.get("backoffLimit"), _BACKOFF_LIMIT)
        failed = number(self.status.get("failed"), 0)
        if part(self.spec, "template", "spec").get("restartPolicy") == "OnFailure":
            again = sum(restarts(pod) for pod in active(self.own))
            if again > 0 and again >= limit:
                return "BackoffLimitExceeded"
        if failed > limit:
            return "BackoffLimitExceeded"
        deadline = self.spec.get("activeDeadlineSeconds")
        if isinstance(deadline, int) and not self.suspended:
            left = deadline - seconds_between(str(self.status.get("startTime")), self.plane.now)
            if left <= 0:
                return "DeadlineExceeded"
            self.plane.wake(left, NAME)
        return ""

    def _is_complete(self) -> bool:
        succeeded = number(self.status.get("succeeded"), 0)
        if self.completions is None:
            return succeeded > 0 and not active(self.own)
        return succeeded >= self.completions

    # --- what to do ---------------------------------------------------------------------------------------

    def _decide(self) -> None:
        if not (self._is("FailureTarget") or self._is("SuccessCriteriaMet")):
            reason = self._failure()
            if reason:
                self._set("FailureTarget", "True", reason, _MESSAGES[reason])
            elif self._is_complete() and not self.suspended:
                self._set("SuccessCriteriaMet", "True", "CompletionsReached", _REACHED)
        if self._is("FailureTarget") or self._is("SuccessCriteriaMet"):
            self._finish()
        elif self.suspended:
            self._delete(active(self.own))
        else:
            self._manage()

    def _finish(self) -> None:
        """Ends the Pods that still run; the Job has ended when they have."""
        for pod in active(self.own):
            delete_pod(self.plane, pod)
        self.own = as_now(self.plane, self.own)
        self._count()
        if any(pod.object.status.phase not in ENDED for pod in self.own):
            return
        target = condition(self.status, "FailureTarget")
        if target is not None and target.get("status") == "True":
            self._set("Failed", "True", target["reason"], target["message"])
            self.maker.tell("Warning", target["reason"], target["message"])
        else:
            self._set("Complete", "True", "CompletionsReached", _REACHED)
            self.status["completionTime"] = self.plane.now
            self.maker.tell("Normal", "Completed", "Job completed")

    def _delete(self, pods: Iterable[Stored]) -> None:
        """Deletes surplus Pods, which count neither as succeeded nor as failed."""
        for pod in pods:
            if TRACKING in pod.finalizers:
                drop_finalizer(self.plane, pod, TRACKING)
            self.maker.delete(pod)

    def _manage(self) -> None:
        """Makes as many Pods as should run side by side, or deletes those too many."""
        alive = active(self.own)
        if self.completions is None:
            wanted = len(alive) if number(self.status.get("succeeded"), 0) else self.parallelism
        else:
            left = self.completions - number(self.status.get("succeeded"), 0)
            wanted = max(0, min(self.parallelism, left))
        if len(alive) > wanted:
            self._delete(first_to_go(alive, alive, self.plane.now)[: len(alive) - wanted])
        elif len(alive) < wanted:
            delay = self._delay()
            if delay > 0:
                self.plane.wake(delay, NAME)
            else:
                self._create(alive, wanted - len(alive))
        self.own = as_now(self.plane, self.own)

    def _delay(self) -> float:
        """Returns the seconds until new Pods may be made: 10 after a failure, and twice as many after each
        further one in a row (pkg/controller/job/backoff_utils.go).
        """
        ended = [pod for pod in self.own if pod.object.status.phase in ENDED]
        failures, last = 0, ""
        for pod in sorted(ended, key=_end_of, reverse=True):
            if pod.object.status.phase == "Succeeded":
                break
            failures, last = failures + 1, last or _end_of(pod)
        if not failures:
            return 0
        pause = min(_LONGEST_DELAY, _DELAY << min(failures - 1, 10))
        return max(0.0, pause - seconds_between(last, self.plane.now))

    def _create(self, alive: list[Stored], count: int) -> None:
        name = self.stored.key.name
        labels = {
            **dict.fromkeys(_UID_LABELS, self.stored.uid),
            **dict.fromkeys(JOB_LABELS, name),
        }
        busy = {index_of(pod) for pod in alive} | self.done
        free = (index for index in range(self.completions or 0) if index not in busy)
        for _ in range(count):
            if self.indexed:
                index = next(free, None)
                if index is None:
                    return
                made = self._indexed(labels, index)
            else:
                made = new_pod(self.plane, self.stored, part(self.spec, "template"), labels=labels)
            made["metadata"]["finalizers"] = [*made["metadata"].get("finalizers", []), TRACKING]
            pod = self.maker.create(made)
            if pod is None:
                return
            self.own.append(pod)

    def _indexed(self, labels: Document, index: int) -> Document:
        """Returns the Pod of an index, which its containers know by JOB_COMPLETION_INDEX."""
        template, host = part(self.spec, "template"), f"{self.stored.key.name}-{index}"
        source = {"fieldRef": {"fieldPath": f"metadata.labels['{COMPLETION_INDEX}']", "apiVersion": "v1"}}
        variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}
        spec = part(template, "spec")
        more: Document = {"hostname": host}
        for key in ("containers", "initContainers"):
            if rows(spec, key):
                more[key] = [
                    one
                    if any(each.get("name") == variable["name"] for each in rows(one, "env"))
                    else {**one, "env": [*rows(one, "env"), variable]}
                    for one in rows(spec, key)
                ]
        mark = {COMPLETION_INDEX: str(index)}
        return new_pod(
            self.plane,
            self.stored,
            template,
            base=f"{host}-",
            labels={**labels, **mark},
            annotations=mark,
            spec=more,
        )

    # --- status -------------------------------------------------------------------------------------------

    def _report(self) -> None:
        alive = active(self.own)
        counts = {
            "active": len(alive),
            "succeeded": number(self.status.get("succeeded"), 0),
            "failed": number(self.status.get("failed"), 0),
        }
        self.status = {key: value for key, value in self.status.items() if key not in counts and value != ""}
        self.status |= {key: value for key, value in counts.items() if value}
        ending = (pod for pod in self.own if pod.deletionTimestamp and pod.object.status.phase not in ENDED)
        self.status |= {"ready": sum(map(is_ready, alive)), "terminating": len([*ending])}
        self.status["uncountedTerminatedPods"] = {}
        document = render(self.plane.store.get(self.stored.key) or self.stored)
        document["status"] = self.status
        self.plane.store.write(document)


# --- small questions --------------------------------------------------------------------------------------


def index_of(pod: Stored) -> int | None:
    """Returns the completion index of a Pod; None if it has none."""
    text = pod.object.metadata.annotations.get(COMPLETION_INDEX, "")
    return int(text) if text.isdigit() else None


def format_indexes(indexes: Iterable[int]) -> str:
    """Returns indexes as a Job's status has them: "0-2,4"."""
    spans: list[list[int]] = []
    for index in sorted(indexes):
        if spans and spans[-1][1] == index - 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    texts = (f"{a}" if a == b else f"{a},{b}" if b == a + 1 else f"{a}-{b}" for a, b in spans)
    return ",".join(texts)


def parse_indexes(text: object) -> set[int]:
    """Returns the indexes that :func:`format_indexes` wrote; none for anything else."""
    found: set[int] = set()
    for span in text.split(",") if isinstance(text, str) else ():
        first, _, last = span.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found.update(range(int(first), int(last or first) + 1))
    return found


def _end_of(pod: Stored) -> str:
    """Returns when a Pod ended, as its kubelet says it: by its containers, or by its readiness."""
    states = (part(one, "state", "terminated") for one in rows(pod.manifest, "status", "containerStatuses"))
    ends = [str(one["finishedAt"]) for one in states if one.get("finishedAt")]
    since = [str(one.get("lastTransitionTime", "")) for one in rows(pod.manifest, "status", "conditions")]
    return max(ends or since, default="") or pod.creationTimestamp


CONTROLLER = Controller(NAME, _run, concerned(("Job", "Pod")))
