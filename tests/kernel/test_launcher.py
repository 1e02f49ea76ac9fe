"""Tests the launcher: processes in Pods, started while the cluster lives, confined, with their ends told."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Sequence

import pytest

from emulator.kernel.netns import Namespaces
from emulator.workload.launcher import Gone, Launch, Launcher, Started
from tests.sandboxed import in_sandbox

pytestmark = pytest.mark.kernel

PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class Shop:
    """Holds a launcher with the network namespaces pod-a and pod-b."""

    def __init__(self) -> None:
        self.namespaces = Namespaces()
        for name in ("pod-a", "pod-b"):
            self.namespaces.create(name)
        self.namespaces.leave()
        self.launcher = Launcher(self.namespaces)
        self.messages: list[Started | Gone] = []

    def hear(self, kind: type[Started] | type[Gone], number: int) -> Started | Gone:
        """Returns the message of ``kind`` about the process ``number``."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for message in self.messages:
                if isinstance(message, kind) and message.number == number:
                    return message
            select.select([self.launcher], [], [], 1)
            self.messages += self.launcher.take()
        raise AssertionError(f"no {kind.__name__} of {number}: {self.messages}")

    def run(self, *argv: str, netns: str = "pod-a", **more: object) -> tuple[int, str]:
        """Returns the exit code of a command, and what it printed."""
        launch = Launch(netns=netns, argv=argv, environment=PATH, hostname="web-1", **more)  # type: ignore[arg-type]
        reader, writer = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        number = self.launcher.start(launch, [null, writer, writer])
        os.close(writer)
        os.close(null)
        started = self.hear(Started, number)
        assert isinstance(started, Started)
        if started.refusal:
            os.close(reader)
            return -1, started.refusal
        with os.fdopen(reader, "rb") as file:
            said = file.read().decode()
        gone = self.hear(Gone, number)
        assert isinstance(gone, Gone)
        return gone.code, said


def words(text: str) -> Sequence[str]:
    return text.split()


@in_sandbox
def test_a_command_runs_confined_in_its_pod() -> None:
    shop = Shop()
    files = {"/var/run/secrets/kubernetes.io/serviceaccount/namespace": "shop"}
    script = "hostname; cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo; exit 7"
    assert shop.run("sh", "-c", script, files=files) == (7, "web-1\nshop\n")
    code, said = shop.run("sh", "-c", "touch /etc/mine || echo refused; ls /root | wc -l")
    assert (code, words(said)[-2:]) == (0, ["refused", "0"])


@in_sandbox
def test_each_process_has_its_pods_network() -> None:
    shop = Shop()
    one = shop.run("readlink", "/proc/self/ns/net", netns="pod-a")[1]
    other = shop.run("readlink", "/proc/self/ns/net", netns="pod-b")[1]
    assert one.startswith("net:[")
    assert one != other
    shop.namespaces.create("pod-c")  # made after the launcher
    shop.namespaces.leave()
    assert shop.run("readlink", "/proc/self/ns/net", netns="pod-c")[1] not in (one, other, "")


@in_sandbox
def test_what_cannot_be_started_is_refused_with_its_reason() -> None:
    shop = Shop()
    assert shop.run("no-such-program") == (-1, "no-such-program: No such file or directory")
    assert shop.run("true", netns="pod-x") == (-1, "its Pod is gone")
    assert shop.run("true") == (0, "")


@in_sandbox
def test_a_killed_process_and_its_children_are_gone() -> None:
    shop = Shop()
    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    launch = Launch(netns="pod-a", argv=("sh", "-c", "sleep 60 & sleep 60; :"), environment=PATH)
    number = shop.launcher.start(launch, [null, writer, writer])
    os.close(writer)
    shop.hear(Started, number)
    shop.launcher.kill(number)
    assert shop.hear(Gone, number) == Gone(number, 128 + signal.SIGKILL)
    with os.fdopen(reader, "rb") as file:
        assert file.read() == b""  # nobody holds the other end


@in_sandbox
def test_processes_of_a_pod_share_its_private_files() -> None:
    shop = Shop()
    assert shop.run("sh", "-c", "echo one > /tmp/a; echo two > /var/lib/b", kept=True) == (0, "")
    assert shop.run("cat", "/tmp/a", "/var/lib/b", kept=True) == (0, "one\ntwo\n")
    assert shop.run("sh", "-c", "ls /tmp | wc -l", netns="pod-b", kept=True)[1].split() == ["0"]
    assert shop.run("sh", "-c", "touch /etc/mine || echo refused", kept=True)[1].endswith("refused\n")
    code, said = shop.run("sh", "-c", "head -c 70000000 /dev/zero > /tmp/large || echo full", kept=True)
    assert (code, said.split()[-1]) == (0, "full")
    shop.namespaces.delete("pod-a")
    shop.namespaces.create("pod-a")  # another Pod of the name
    shop.namespaces.leave()
    assert shop.run("sh", "-c", "ls /tmp | wc -l", kept=True)[1].split() == ["0"]
