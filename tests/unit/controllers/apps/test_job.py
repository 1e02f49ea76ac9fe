"""Tests Jobs: completions, indexes, failures, suspension, deadlines."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.controllers.apps.documents import is_active
from emulator.controllers.apps.job import TRACKING, format_indexes, index_of, parse_indexes
from emulator.store.objects import Stored
from tests.unit.controllers.apps.living import START, Living, set_spec


def job(**spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "work:1"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work", "namespace": "default"},
        "spec": {"template": {"spec": pod}, **spec},
    }


def started(phase: str = "", **spec: Any) -> Living:
    living = Living()
    living.ends = lambda _: phase
    living.create(job(**spec))
    return living


def steps(living: Living, count: int) -> None:
    for _ in range(count):
        living.step()


def phases(living: Living) -> list[str]:
    return sorted(one.object.status.phase for one in living.all("Pod"))


def test_one_pod_runs_and_the_job_is_complete() -> None:
    living = started()
    steps(living, 2)
    assert living.status("Job", "work") == {
        "startTime": START,
        "active": 1,
        "ready": 1,
        "terminating": 0,
        "uncountedTerminatedPods": {},
    }
    (pod,) = living.all("Pod")
    assert pod.finalizers == (TRACKING,)
    labels = pod.object.metadata.labels
    uid = living.document("Job", "work")["metadata"]["uid"]
    assert labels["job-name"] == labels["batch.kubernetes.io/job-name"] == "work"
    assert labels["controller-uid"] == labels["batch.kubernetes.io/controller-uid"] == uid
    living.ends = lambda _: "Succeeded"
    steps(living, 1)
    status = living.status("Job", "work")
    assert (status["succeeded"], status["completionTime"]) == (1, "2026-12-01T12:00:03Z")
    assert living.conditions("Job", "work") == {
        "SuccessCriteriaMet": ("True", "CompletionsReached"),
        "Complete": ("True", "CompletionsReached"),
    }
    assert living.messages("Completed") == ["Job completed"]
    assert living.all("Pod")[0].finalizers == ()


def test_no_more_than_parallelism_run_at_once() -> None:
    living = started("Succeeded", completions=5, parallelism=2)
    for _ in range(20):
        assert sum(map(is_active, living.all("Pod"))) <= 2
        living.step()
    assert phases(living) == ["Succeeded"] * 5
    assert living.status("Job", "work")["succeeded"] == 5


def test_a_work_queue_ends_when_one_succeeded_and_none_runs() -> None:
    living = started(parallelism=3)
    steps(living, 2)
    first = living.all("Pod")[0].key
    living.ends = lambda pod: "Succeeded" if pod.key == first else ""
    steps(living, 3)
    assert living.status("Job", "work")["active"] == 2
    living.ends = lambda _: "Succeeded"
    steps(living, 2)
    assert living.status("Job", "work")["succeeded"] == 3
    assert living.conditions("Job", "work")["Complete"][0] == "True"


def test_each_index_runs_until_it_succeeds() -> None:
    living = started(completionMode="Indexed", completions=4, parallelism=2)
    failing: set[int | None] = {1}

    def ends(pod: Stored) -> str:
        index = index_of(pod)
        if index in failing:
            failing.discard(index)
            return "Failed"
        return "Succeeded"

    living.ends = ends
    names = []
    for _ in range(60):
        names += [one.key.name for one in living.all("Pod") if one.key.name not in names]
        living.step()
    status = living.status("Job", "work")
    assert (status["completedIndexes"], status["succeeded"], status["failed"]) == ("0-3", 4, 1)
    assert sorted(name.rsplit("-", 1)[0] for name in names) == [
        "work-0",
        "work-1",
        "work-1",
        "work-2",
        "work-3",
    ]
    document = living.document("Pod", names[0])
    assert document["spec"]["hostname"] == "work-0"
    assert document["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"


def test_failures_are_repeated_after_longer_and_longer_pauses() -> None:
    living = started("Failed", backoffLimit=3)
    made: list[int] = []
    for second in range(120):
        made += [second] * (len(living.all("Pod")) - len(made))
        living.step()
    pauses = [after - before for before, after in pairwise(made)]
    assert pauses == [12, 22, 42]  # two steps until a Pod fails, then the pause
    assert living.status("Job", "work")["failed"] == 4
    assert living.conditions("Job", "work") == {
        "FailureTarget": ("True", "BackoffLimitExceeded"),
        "Failed": ("True", "BackoffLimitExceeded"),
    }
    assert living.messages("BackoffLimitExceeded") == ["Job has reached the specified backoff limit"]


def test_a_job_that_takes_too_long_fails_and_its_pods_end() -> None:
    living = started(activeDeadlineSeconds=10, parallelism=2, completions=2)
    steps(living, 9)
    assert living.status("Job", "work")["active"] == 2
    steps(living, 2)
    assert living.conditions("Job", "work")["Failed"] == ("True", "DeadlineExceeded")
    assert not living.all("Pod")


def test_a_suspended_job_runs_nothing_until_it_is_resumed() -> None:
    living = started(suspend=True)
    assert not living.all("Pod")
    assert living.conditions("Job", "work") == {"Suspended": ("True", "JobSuspended")}
    living.change("Job", "work", set_spec(suspend=False))
    assert len(living.all("Pod")) == 1
    assert living.conditions("Job", "work") == {"Suspended": ("False", "JobResumed")}
    steps(living, 2)
    living.change("Job", "work", set_spec(suspend=True))
    steps(living, 2)
    assert not living.all("Pod")
    assert "failed" not in living.status("Job", "work")
    assert len(living.events("Suspended")) == 1


def test_a_running_pod_that_is_deleted_counts_as_failed_and_is_replaced() -> None:
    living = started()
    steps(living, 2)
    pod = living.all("Pod")[0]
    document = living.document("Pod", pod.key.name)
    document["metadata"] |= {"deletionTimestamp": living.plane.now, "deletionGracePeriodSeconds": 30}
    living.plane.store.write(document)
    living.reconcile()
    assert [one.key.name for one in living.all("Pod") if one.deletionTimestamp] == [pod.key.name]
    steps(living, 15)
    assert living.status("Job", "work")["failed"] == 1
    assert pod.key not in [one.key for one in living.all("Pod")]
    assert living.status("Job", "work")["active"] == 1


def test_fewer_at_once_may_be_asked_for_later() -> None:
    living = started(parallelism=3, completions=5)
    steps(living, 2)
    living.change("Job", "work", set_spec(parallelism=1))
    steps(living, 2)
    assert len(living.all("Pod")) == 1
    assert "failed" not in living.status("Job", "work")


def test_an_ended_job_goes_after_its_time_to_live() -> None:
    living = started("Succeeded", ttlSecondsAfterFinished=30)
    steps(living, 30)
    assert living.all("Job")
    steps(living, 10)
    assert not living.all("Job")
    assert not living.all("Pod")


def test_a_deleted_job_takes_its_pods_along() -> None:
    living = started("Succeeded")
    steps(living, 4)
    living.delete("Job", "work")
    steps(living, 1)
    assert not living.all("Pod")


@pytest.mark.parametrize(
    ("indexes", "text"), [(set(), ""), ({3}, "3"), ({0, 1, 2, 5}, "0-2,5"), ({1, 2, 4}, "1,2,4")]
)
def test_indexes_are_written_as_spans(indexes: set[int], text: str) -> None:
    assert format_indexes(indexes) == text


@given(st.sets(st.integers(0, 50)))
def test_indexes_come_back(indexes: set[int]) -> None:
    assert parse_indexes(format_indexes(indexes)) == indexes
