"""Tests CronJobs: when they start Jobs, and which they keep."""

from __future__ import annotations

from typing import Any

from tests.unit.controllers.apps.living import Living, set_spec


def cron(schedule: str = "*/5 * * * *", **spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "work:1"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "tick", "namespace": "default"},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": {"spec": pod}}}, **spec},
    }


def started(phase: str = "Succeeded", **spec: Any) -> Living:
    living = Living()
    living.ends = lambda _: phase
    living.create(cron(**spec))
    return living


def minutes(living: Living, count: int) -> None:
    for _ in range(count * 6):
        living.step(10)


def test_a_job_starts_at_its_time_under_its_name() -> None:
    living = started("")
    minutes(living, 4)
    assert not living.all("Job")
    minutes(living, 1)
    assert living.names("Job") == ["tick-29935445"]  # minutes since 1970
    document = living.document("Job", "tick-29935445")
    assert document["metadata"]["annotations"] == {
        "batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-12-01T12:05:00Z"
    }
    status = living.status("CronJob", "tick")
    assert status["lastScheduleTime"] == "2026-12-01T12:05:00Z"
    assert [one["name"] for one in status["active"]] == ["tick-29935445"]
    assert living.messages("SuccessfulCreate")[0] == "Created job tick-29935445"
    assert len(living.all("Pod")) == 1


def test_ended_jobs_are_kept_to_the_limits() -> None:
    living = started()
    minutes(living, 32)
    assert len(living.all("Job")) == 3
    status = living.status("CronJob", "tick")
    assert "active" not in status
    assert status["lastSuccessfulTime"].startswith("2026-12-01T12:30:")
    assert living.messages("SawCompletedJob")
    living = started(successfulJobsHistoryLimit=0)
    minutes(living, 12)
    assert not living.all("Job")


def test_forbid_waits_for_the_last_job() -> None:
    living = started("", concurrencyPolicy="Forbid")
    minutes(living, 12)
    assert len(living.all("Job")) == 1
    assert living.events("JobAlreadyActive")
    living.ends = lambda _: "Succeeded"
    minutes(living, 1)
    assert len(living.all("Job")) == 2


def test_replace_ends_the_last_job() -> None:
    living = started("", concurrencyPolicy="Replace")
    minutes(living, 11)
    (job,) = living.all("Job")
    assert job.creationTimestamp == "2026-12-01T12:10:00Z"
    assert len(living.all("Pod")) == 1


def test_allow_lets_jobs_run_side_by_side() -> None:
    living = started("")
    minutes(living, 16)
    assert len(living.status("CronJob", "tick")["active"]) == 3


def test_a_suspended_one_starts_nothing_and_resumes_with_the_last_time() -> None:
    living = started("", suspend=True)
    minutes(living, 11)
    assert not living.all("Job")
    living.change("CronJob", "tick", set_spec(suspend=False))
    assert len(living.all("Job")) == 1
    assert living.status("CronJob", "tick")["lastScheduleTime"] == "2026-12-01T12:10:00Z"


def test_a_time_that_is_long_past_is_missed() -> None:
    living = started("", suspend=True, startingDeadlineSeconds=30)
    minutes(living, 7)
    living.change("CronJob", "tick", set_spec(suspend=False))
    assert not living.all("Job")
    assert living.messages("MissSchedule")


def test_a_deleted_cron_job_takes_its_jobs_along() -> None:
    living = started("")
    minutes(living, 6)
    living.delete("CronJob", "tick")
    living.settle()
    assert not [*living.all("Job"), *living.all("Pod")]


def test_a_time_zone_that_nobody_knows_is_told() -> None:
    living = started(timeZone="Nowhere/At-All")
    minutes(living, 6)
    assert not living.all("Job")
    assert living.events("UnparseableSchedule")
