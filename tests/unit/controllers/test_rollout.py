"""Tests how far a roll-out is, in kubectl's words."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.controllers.rollout import progress_of


def deployment(generation: int = 2, replicas: int = 3, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "generation": generation},
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": 2, **status},
    }


def with_status(**status: Any) -> dict[str, Any]:
    return {**deployment(), "status": {"observedGeneration": 2, **status}}


@pytest.mark.parametrize(
    ("document", "done", "text"),
    [
        (deployment(3), False, "Waiting for deployment spec update to be observed..."),
        (
            deployment(replicas=3, updatedReplicas=1),
            False,
            'Waiting for deployment "web" rollout to finish: 1 out of 3 new replicas have been updated...',
        ),
        (
            with_status(replicas=4, updatedReplicas=3),
            False,
            'Waiting for deployment "web" rollout to finish: 1 old replicas are pending termination...',
        ),
        (
            with_status(replicas=3, updatedReplicas=3, availableReplicas=2),
            False,
            'Waiting for deployment "web" rollout to finish: 2 of 3 updated replicas are available...',
        ),
        (
            with_status(replicas=3, updatedReplicas=3, availableReplicas=3),
            True,
            'deployment "web" successfully rolled out',
        ),
        (deployment(0, 0), True, 'deployment "web" successfully rolled out'),
    ],
)
def test_progress(document: dict[str, Any], done: bool, text: str) -> None:
    assert progress_of(document) == (done, False, text)


def test_a_deadline_that_has_passed_is_a_failure() -> None:
    conditions = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    assert progress_of(deployment(conditions=conditions)) == (
        False,
        True,
        'deployment "web" exceeded its progress deadline',
    )
