"""Runs a container's real command with the host's programs inside its Pod's network namespace, confined by
:mod:`emulator.kernel.container`.

The command is an argv list as Kubernetes has it (``command`` + ``args``), never a shell's line; ``$(NAME)``
in it means a declared variable
(https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/). Its
output goes to one file per container. It inherits nothing of podwire's own environment and descriptors.
"""

from __future__ import annotations

import os
import pickle
import pwd
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..cluster.state import ClusterState, pod_netns
from ..errors import PodwireError, UsageError, printable
from ..kernel.container import WORKING_DIRECTORY, contain, hidden_homes, own_pid_namespace
from ..kernel.netns import Namespaces
from ..model.notices import CommandEnd, CommandEnded, LocalhostOnly, NotListening, RunNotice
from ..objects.kinds import Container, EnvVar, Pod

_SEEN = (
    "commands see this machine's programs as an ordinary user does; home directories, /run, /var and "
    "/tmp are hidden from them"
)
_TAIL = 4096  # bytes at the end of what a command has printed
_MOST_SAID = 120  # characters of its last line
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)")


def environment(state: ClusterState, pod: Pod, container: Container) -> dict[str, str]:
    """Returns the variables of ``container``: PATH, HOME and HOSTNAME, then its ``env`` in order, with Pod
    fields where ``fieldRef`` names them.
    """
    values = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": WORKING_DIRECTORY,
    }
    values["HOSTNAME"] = pod.spec.hostname or pod.name
    for variable in container.env:
        values[variable.name] = _value(state, pod, variable, values)
    return values


def _value(state: ClusterState, pod: Pod, variable: EnvVar, values: Mapping[str, str]) -> str:
    if variable.valueFrom is None or variable.valueFrom.fieldRef is None:
        return expand(variable.value, values)
    fields = {
        "metadata.name": pod.name,
        "metadata.namespace": pod.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": pod.spec.nodeName,
        "status.podIP": pod.ip,
        "status.podIPs": ",".join(a.ip for a in pod.status.podIPs),
        "status.hostIP": state.node[pod.spec.nodeName].internalIPs[0],
    }
    return fields.get(variable.valueFrom.fieldRef.fieldPath, "")


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replaces ``$(NAME)`` by its value if there is one, and ``$$`` by ``$``."""
    return _REFERENCE.sub(lambda m: "$" if m[0] == "$$" else values.get(m[1], m[0]), text)


@dataclass(frozen=True, slots=True)
class RunningCommand:
    """Holds a real command that was started. ``what`` is the command and its place, to distinguish it from
    one of another Pod with the same name. ``log`` has its output.
    """

    process: subprocess.Popen[bytes]
    what: tuple[object, ...]
    log: Path


class ContainerRef(NamedTuple):
    """Names a container of the Pod ``pod`` (namespace/name)."""

    pod: str
    container: str

    def __str__(self) -> str:
        return f"container {self.container} of Pod {self.pod}"


class CommandNotice(NamedTuple):
    """Holds a notice about the command of ``ref``; ``code`` is its exit code (-n: signal n) if it has
    ended.
    """

    ref: ContainerRef
    code: int | None
    notice: RunNotice


Commands = Mapping[ContainerRef, RunningCommand]


def start_commands(
    state: ClusterState, namespaces: Namespaces, logs: Path, running: Commands
) -> dict[ContainerRef, RunningCommand]:
    """Starts every command that ``state.commands`` names and that is not ``running``; returns those. Raises
    UsageError with the container's name when one cannot be started.
    """
    started = {}
    for key, containers in state.commands.items():
        pod = state.pod[key]
        for container in (*pod.spec.initContainers, *pod.spec.containers):
            ref = ContainerRef(key, container.name)
            if container.name in containers and ref not in running:
                log = logs / f"{pod.namespace}_{pod.name}_{container.name}.log"
                started[ref] = RunningCommand(
                    _start(state, namespaces, pod, container, log),
                    _what(state, namespaces, pod, container),
                    log,
                )
    return started


def end_commands(
    state: ClusterState, namespaces: Namespaces, running: dict[ContainerRef, RunningCommand]
) -> None:
    """Kills every command that ``state`` no longer has, or has changed, with all processes that it started,
    and removes it from ``running``.
    """
    wanted = {
        ContainerRef(key, container.name): _what(state, namespaces, state.pod[key], container)
        for key, names in state.commands.items()
        for container in (*state.pod[key].spec.initContainers, *state.pod[key].spec.containers)
        if container.name in names
    }
    for ref, command in list(running.items()):
        if command.what != wanted.get(ref):
            del running[ref]
            command.process.kill()  # PID 1 of its PID namespace: the kernel ends the others
            command.process.wait()


def _what(state: ClusterState, namespaces: Namespaces, pod: Pod, container: Container) -> tuple[object, ...]:
    place = os.fstat(namespaces[pod_netns(pod)]).st_ino
    return (
        place,
        pod.ip,
        container.command,
        container.args,
        container.workingDir,
        tuple(environment(state, pod, container).items()),
    )


def wait_until_listening(
    state: ClusterState, namespaces: Namespaces, running: Commands, *, kept: bool, seconds: float = 10
) -> list[CommandNotice]:
    """Waits until each of the commands listens on its TCP and UDP ports. Returns a notice about each that
    does not within ``seconds``, or only where no other Pod reaches it.

    ``kept``: their output will be in ``logs/``.
    """
    deadline = time.monotonic() + seconds
    wanted: dict[ContainerRef, set[_Port]] = {ref: set() for ref in running}
    for (_, port, protocol), (key, container) in state.commanded_ports.items():
        if protocol != "SCTP":
            wanted.get(ContainerRef(key, container), set()).add((port, protocol))
    notices = []
    for ref, command in running.items():
        process = command.process
        netns = pod_netns(state.pod[ref.pod])
        while missing := wanted[ref] - (reached := namespaces.call_in(netns, _listening)).keys():
            if process.poll() is not None or time.monotonic() > deadline:
                end = _end_of(command, kept)
                silent = NotListening(ref.container, ref.pod, tuple(sorted(missing)), end)
                notices.append(CommandNotice(ref, end.code if end else None, silent))
                break
            time.sleep(0.01)
        alone = {port for port in wanted[ref] & reached.keys() if not reached[port]}
        if alone:
            hidden = LocalhostOnly(ref.container, ref.pod, tuple(sorted(alone)))
            notices.append(CommandNotice(ref, None, hidden))
    return notices


def find_ended(state: ClusterState, running: Commands, *, kept: bool) -> list[CommandNotice]:
    """Returns a notice about each command that has ended and was meant to serve a port, or has ended with an
    error. ``kept``: whether their output will be found in ``logs/``.
    """
    servers = {ContainerRef(key, container) for key, container in state.commanded_ports.values()}
    ended = {ref: end for ref, command in running.items() if (end := _end_of(command, kept))}
    return [
        CommandNotice(ref, end.code, CommandEnded(ref.container, ref.pod, end))
        for ref, end in ended.items()
        if end.code or ref in servers
    ]


def _end_of(command: RunningCommand, kept: bool) -> CommandEnd | None:
    """Returns how ``command`` ended; None if it has not."""
    code = command.process.poll()
    return None if code is None else CommandEnd(code, _last_line(command.log), kept)


def _last_line(log: Path) -> str:
    """Returns the last line of ``log`` that is not blank, printable and not too long."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        lines = file.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return printable(last if len(last) <= _MOST_SAID else f"{last[:_MOST_SAID]}…")


_Port = tuple[int, str]  # number, protocol
# file, protocol, state (tcp_states.h)
_TABLES = (("tcp", "TCP", "0A"), ("tcp6", "TCP", "0A"), ("udp", "UDP", "07"), ("udp6", "UDP", "07"))
_LOOPBACK_6 = "00000000000000000000000001000000"


def _listening() -> dict[_Port, bool]:
    """Returns the ports with a listener in the calling thread's network namespace (proc(5), net/tcp), and
    whether others than itself reach it.
    """
    ports: dict[_Port, bool] = {}
    for file, protocol, listens in _TABLES:
        try:
            rows = Path(f"/proc/thread-self/net/{file}").read_text().splitlines()[1:]
        except OSError:
            continue  # no IPv6 in this kernel
        for _, local, _, state, *_ in (row.split() for row in rows):
            if state == listens:
                address, _, port = local.rpartition(":")
                local_only = (
                    address == _LOOPBACK_6 if len(address) > 8 else bytes.fromhex(address)[_FIRST_BYTE] == 127
                )
                key = (int(port, 16), protocol)
                ports[key] = ports.get(key, False) or not local_only
    return ports


# from an address that the kernel prints as a number of its own byte order
_FIRST_BYTE = 3 if sys.byteorder == "little" else 0


def _start(
    state: ClusterState, namespaces: Namespaces, pod: Pod, container: Container, output: Path
) -> subprocess.Popen[bytes]:
    env = environment(state, pod, container)
    argv = [expand(word, env) for word in (*container.command, *container.args)]
    homes = find_homes()
    reader, writer = os.pipe()

    def become_the_container() -> None:
        try:
            contain(pod.spec.hostname or pod.name, container.workingDir or WORKING_DIRECTORY, homes)
        except Exception as error:
            os.write(writer, pickle.dumps(error))
            raise

    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        with own_pid_namespace():
            return namespaces.call_in(
                pod_netns(pod),
                lambda: subprocess.Popen(
                    argv,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    preexec_fn=become_the_container,  # no other threads run yet
                    start_new_session=True,
                ),
            )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        os.set_blocking(reader, False)
        cause = _read_error(reader) or error
        if isinstance(cause, PodwireError):
            raise cause from None
        what = (
            f"{cause.filename2 or cause.filename or argv[0]}: {cause.strerror}"
            if isinstance(cause, OSError)
            else str(cause)
        )
        raise UsageError(
            printable(f"container {container.name} of Pod {pod.key} cannot run {argv[0]}: {what} ({_SEEN})")
        ) from None
    finally:
        for fd in (log, reader, writer):
            os.close(fd)


def _read_error(reader: int) -> Exception | None:
    """Returns the error that occurred before the program was started."""
    try:
        error = pickle.loads(os.read(reader, 1 << 16))  # noqa: S301 - our own child wrote it
    except BlockingIOError:
        return None
    return error if isinstance(error, Exception) else None


def find_homes() -> tuple[str, ...]:
    """Returns the home directories of podwire's caller, behind sudo and in a user namespace too."""
    users = [
        int(line.split()[1])
        for line in Path("/proc/self/uid_map").read_text().splitlines()
        if line.split()[0] == "0"
    ]
    sudo = os.environ.get("SUDO_UID", "")
    users += [int(sudo)] if sudo.isdecimal() else []
    homes = [os.environ.get("HOME", "")]
    for user in users:
        with suppress(KeyError, OverflowError):  # a user without an entry
            homes.append(pwd.getpwuid(user).pw_dir)
    return hidden_homes(homes)
