"""Holds a running cluster: its kernels, the processes beside the rules, and the capture."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..capture.recording import Recording
from ..capture.ring import HANDSHAKES, WITHOUT_BARE_SEGMENTS, BpfProgram, Taps
from ..cluster.state import ClusterState
from ..kernel.apply import Applied, apply
from ..model.notices import RunNotice
from ..plan.operations import AddNetns, DelNetns, Plan
from ..proxy.backends import backend_of
from ..schedule.needs import needs_bare_segments, ring_slots, slot_width
from ..schedule.schedule import Moment, Schedule
from ..workload.commands import (
    CommandNotice,
    ContainerRef,
    RunningCommand,
    end_commands,
    find_ended,
    start_commands,
    wait_until_listening,
)
from ..workload.journal import Journal
from ..workload.launcher import Launcher
from ..workload.serve import servers
from ..workload.speakers import speakers
from ..workload.worker import Worker, any_busy
from .clock import Clock
from .watch import Watch

_SLOTS = 512  # frames in the ring of a namespace that the schedule does not know: a roll-out's Pod


class Live:
    """Holds a running cluster. ``applied`` is the kernels' state, ``logs`` the place of real commands'
    output; ``settings`` are the machine's limits, by sysctl; ``keep``: whether the frames are wanted when all
    is judged; ``lives``: it has logs, and processes are started in it; ``access``: the kubeconfig of real
    kube-proxies in it.
    """

    def __init__(
        self,
        applied: Applied,
        schedule: Schedule,
        logs: Path,
        clock: Clock,
        settings: Mapping[str, str],
        *,
        keep: bool,
        lives: bool = False,
        access: str = "",
    ) -> None:
        self.applied, self.logs, self.clock = applied, logs, clock
        self._access = access
        self._settings, self._keep = settings, keep
        self.journal = Journal(logs) if lives else None
        self.launcher: Launcher | None = None
        self._workers: list[Worker] = []
        self.commands: dict[ContainerRef, RunningCommand] = {}
        # commands whose end was noted, with their exit code
        self._ended: set[tuple[ContainerRef, int]] = set()
        # and what the kernel refused, and commands that do not listen
        self.said: list[RunNotice] = [*applied.notices]
        self._schedule = schedule
        self._prepare_to_listen()

    def _prepare_to_listen(self) -> None:
        schedule = self._schedule
        self._bare_segments = self._keep or needs_bare_segments(schedule)
        self._width = slot_width(schedule)
        self._slots = ring_slots(schedule, _namespaces(schedule) | set(self.applied.namespaces), self._width)
        self.taps = Taps()
        self.recording = Recording(self.taps, keep=self._keep)
        self.watch = Watch(self.applied.namespaces, self._settings)

    def check(self) -> None:
        """Raises WorkerDiedError if a server, speaker or proxy has ended: a missing answer since then proves
        nothing about rules.
        """
        for worker in self._workers:
            worker.check()

    def channels(self) -> list[int]:
        """Returns the descriptors that become readable when a server, speaker or proxy ends."""
        return [fd for worker in self._workers if (fd := worker.fileno()) is not None]

    def begin(self, state: ClusterState) -> None:
        """Starts the processes beside the loaded rules."""
        if self.journal:
            self.launcher = Launcher(self.applied.namespaces)
        self._workers = _workers(state, self.applied, self.journal)
        if state.proxy.program:
            from .kubeproxies import kube_proxies  # with asyncio and aiohttp, which are slow to import

            self._workers.append(kube_proxies(self.applied, self.logs, self._access))
        self._tell(state)
        self.run_commands(state)

    @contextmanager
    def listening(self, schedule: Schedule | None = None, *, keep: bool | None = None) -> Iterator[None]:
        """Captures in every namespace as long as the context lasts. ``schedule``: the flows sent meanwhile,
        if not those that this cluster was made for; ``keep``: whether the frames are wanted when all is
        judged, if that is another than it was.
        """
        if schedule:
            self._schedule, self._keep = schedule, self._keep if keep is None else keep
            self._prepare_to_listen()
        try:
            self._tap(self._schedule.state, self.applied.namespaces)
            yield
        finally:
            with self.clock.phase("tear-down"):
                self.taps.close()
                self.recording.close()

    def change(self, moment: Moment) -> None:
        """Changes the cluster to ``moment``. Namespaces that are deleted lose their links first; new Pods are
        served before the next flow.
        """
        self.recording.drain()
        with self.clock.phase("change"):
            apply(moment.plan, self.applied)
            self.applied.wait_until_up()
        gone = {op.netns for op in moment.plan.operations if isinstance(op, DelNetns)}
        self._untap(gone)
        new = {op.netns for op in moment.plan.operations if isinstance(op, AddNetns)}
        self._tap(moment.state, new)
        self._tell(moment.state)

    def move(self, plan: Plan, state: ClusterState) -> None:
        """Changes the cluster to ``state`` by ``plan``, while nothing is captured."""
        apply(plan, self.applied)
        self.applied.wait_until_up()
        self._tell(state)

    def _tell(self, state: ClusterState) -> None:
        with self.clock.phase("servers"):
            self.said += [word for worker in self._workers for word in worker.tell(state)]

    def busy(self) -> bool:
        """Returns whether a server, speaker or proxy is still at work on received packets."""
        return any_busy(self._workers)

    def run_commands(self, state: ClusterState) -> None:
        """Ends the real commands of removed containers, and starts those of new ones. No other thread may run
        now.
        """
        if state.commands:
            self.taps.wait_until_closed()
        with self.clock.phase("servers"):
            end_commands(state, self.applied.namespaces, self.commands)
            started = start_commands(state, self.applied.namespaces, self.logs, self.commands)
            self._note(wait_until_listening(state, self.applied.namespaces, started, kept=self._keep))
            self.commands |= started

    def note_ended_commands(self, state: ClusterState) -> None:
        """Notes the real commands that have ended although they should go on, each end once."""
        ended = find_ended(state, self.commands, kept=self._keep)
        self._note(one for one in ended if (one.ref, one.code) not in self._ended)

    def _note(self, notices: Iterable[CommandNotice]) -> None:
        for ref, code, notice in notices:
            self.said.append(notice)
            if code is not None:
                self._ended.add((ref, code))

    def _untap(self, names: Collection[str]) -> None:
        """Closes the taps in the namespaces ``names``, which are deleted: a tap would keep them."""
        if names:
            with self.clock.phase("taps"):
                self.recording.drain()
                self.taps.lost()  # with those of these taps
                self.taps.close_in(names)

    def _tap(self, state: ClusterState, names: Collection[str]) -> None:
        """Taps the namespaces ``names``, and updates the links of those that are tapped already."""
        with self.clock.phase("taps"):
            self.taps.open(
                self.applied.namespaces,
                {name: self.applied.interfaces(name) for name in self.applied.namespaces},
                self.applied.ports,
                {name: self._slots.get(name, _SLOTS) for name in names},
                width=self._width,
                program=self._choose_program(state),
            )

    def _choose_program(self, state: ClusterState) -> BpfProgram | None:
        """Returns which frames are captured (None: all): no more than verdicts and evidence need."""
        if backend_of(state).relays:
            return None  # requests are followed
        if self._schedule.pairs:
            return HANDSHAKES
        return None if self._bare_segments else WITHOUT_BARE_SEGMENTS


def _namespaces(schedule: Schedule) -> set[str]:
    """Returns every namespace that exists at some time."""
    return {
        op.netns for moment in schedule.moments for op in moment.plan.operations if isinstance(op, AddNetns)
    }


def _workers(state: ClusterState, applied: Applied, journal: Journal | None) -> list[Worker]:
    """Returns the processes beside the rules, in the order in which they get a state."""
    workers = [servers(applied.namespaces, journal), speakers(applied.namespaces)]
    if backend_of(state).relays:
        from ..workload.proxying import proxies  # with asyncio, which is slow to import

        workers.append(proxies(applied.namespaces))
    return workers
