"""Holds a run's scenario: the cluster at the beginning, the states that it changes to, and the FlowChecks
whose flows are sent in each of them. Pure values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..objects.config import FlowCheck
from ..objects.kinds import Loaded, Origin
from ..objects.references import ObjectRef
from .state import ClusterState


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Describes a step: a state that the cluster changes to, the seconds to wait then, and the FlowChecks
    whose flows are sent after that. ``name`` is unique (FlowCheck, step); "" is the beginning.
    """

    name: str = ""
    state: ClusterState
    flowChecks: tuple[Loaded[FlowCheck], ...] = ()
    wait: float = 0
    rolls: bool = False  # a Deployment is rolled out


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Describes a run: ``state`` is the cluster at the beginning, ``flowChecks`` are those whose flows are
    sent then; ``steps`` follow one after the other. ``origins`` names where the user wrote the objects that a
    report may name.
    """

    state: ClusterState
    flowChecks: tuple[Loaded[FlowCheck], ...] = ()
    steps: tuple[Step, ...] = ()
    origins: Mapping[ObjectRef, Origin] = field(default_factory=dict)

    @property
    def rolls(self) -> bool:
        """Returns whether some step rolls a Deployment out."""
        return any(step.rolls for step in self.steps)

    @property
    def moments(self) -> tuple[Step, ...]:
        """Returns the beginning, then the steps."""
        return (Step(state=self.state, flowChecks=self.flowChecks), *self.steps)
