"""A cluster that runs: what the kernel holds of it, what runs beside, and what is captured."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from emulator.clock import Clock
from emulator.control.state import BALANCER, ROUTER, SWITCH, ClusterState
from emulator.kernel.apply import Applied, apply
from emulator.kernel.ring import HANDSHAKES, Taps
from emulator.plan.operations import AddNetns
from emulator.probe.recording import Recording
from emulator.probe.watch import Watch
from emulator.schedule import Moment
from emulator.workload.commands import Command, end_commands, find_ended, start_commands, wait_until_listening
from emulator.workload.serve import servers
from emulator.workload.speakers import speakers
from emulator.workload.worker import Worker, any_busy

_POD_FRAMES = 1 << 17  # slots of all Pods' rings together: 256 MiB at 2 KiB each


class Live:
    """``applied`` is what the kernel holds, ``logs`` where the output of real commands goes; ``pairs``: handshakes alone are captured;
    ``settings`` are the machine's limits, by sysctl."""

    def __init__(self, applied: Applied, pairs: bool, logs: Path, clock: Clock, settings: Mapping[str, str]) -> None:
        self.applied, self.logs = applied, logs
        self._pairs, self.clock = pairs, clock
        self._workers: list[Worker] = []
        self.commands: dict[str, Command] = {}
        self.said = [*applied.notices]  # and what the kernel refused, and commands that do not listen
        self.taps = Taps()
        self.recording = Recording(self.taps)
        self.watch = Watch(applied.namespaces, settings)

    def check(self) -> None:
        """Raises WorkerDiedError if a server, speaker or proxy has ended: what was not answered since then says nothing of rules."""
        for worker in self._workers:
            worker.check()

    def begin(self, state: ClusterState) -> None:
        """Start what runs beside the rules that are loaded, and capture from now on."""
        self._workers = _workers(state, self.applied)
        self._tell(state)
        self.run_commands(state)
        self._tap(state, self.applied.namespaces)

    def change(self, moment: Moment) -> None:
        """Become what ``moment`` says. What leaves loses its links first; what comes is served before the next flow."""
        self.recording.drain()
        with self.clock.phase("change"):
            apply(moment.plan, self.applied)
            self.applied.wait_until_up()
        new = {op.netns for op in moment.plan.operations if isinstance(op, AddNetns)}
        self._tap(moment.state, new)
        self._tell(moment.state)

    def _tell(self, state: ClusterState) -> None:
        with self.clock.phase("servers"):
            self.said += [word for worker in self._workers for word in worker.tell(state)]

    def busy(self) -> bool:
        """Whether a server, speaker or proxy is still at work on what came to it."""
        return any_busy(self._workers)

    def run_commands(self, state: ClusterState) -> None:
        """End the real commands of containers that are no more, and start those of new ones. No other thread may run now."""
        with self.clock.phase("servers"):
            end_commands(state, self.applied.namespaces, self.commands)
            started = start_commands(state, self.applied.namespaces, self.logs, self.commands)
            self.said += wait_until_listening(state, self.applied.namespaces, started)
            self.commands |= started

    def note_ended_commands(self, state: ClusterState) -> None:
        """Say of the real commands that have ended, though they were to go on, that they did, unless that was said before."""
        for word in find_ended(state, self.commands):
            who, colon, how = word.partition(":")
            if not any(said.startswith((f"{who}:", f"{who} ")) and said.endswith(colon + how) for said in self.said):
                self.said.append(word)

    def _tap(self, state: ClusterState, names: Collection[str]) -> None:
        """Tap the namespaces ``names``, and know the links of those that are tapped already."""
        with self.clock.phase("taps"):
            self.taps.open(
                self.applied.namespaces,
                {name: self.applied.interfaces(name) for name in self.applied.namespaces},
                self.applied.ports,
                {name: size for name, size in _ring_sizes(state, self.applied.namespaces, self._pairs).items() if name in names},
                width=256 if self._pairs else 2048,
                program=HANDSHAKES if self._pairs and state.proxy.mode != "userspace" else None,  # there requests are followed
            )


def _workers(state: ClusterState, applied: Applied) -> list[Worker]:
    """What runs beside the rules, in the order in which it is told of a state."""
    workers = [servers(applied.namespaces), speakers(applied.namespaces)]
    if state.proxy.mode == "userspace":
        from emulator.workload.proxying import proxies  # and asyncio, which takes its time to import

        workers.append(proxies(applied.namespaces))
    return workers


def _ring_sizes(state: ClusterState, names: Mapping[str, int], handshakes: bool) -> dict[str, int]:
    """How many frames each namespace's ring holds: where many Pods' packets meet, more; twice as many where every attempt of a Service is two
    whole connections."""
    shared = {SWITCH, ROUTER, BALANCER, *(node.name for node in state.nodes)}
    relayed = state.proxy.mode == "userspace"
    many = 16384 if handshakes or relayed else 8192
    few = max(32, min(1024 if relayed else 512, _POD_FRAMES // len(names)))
    return {name: many if name in shared else few for name in names}
