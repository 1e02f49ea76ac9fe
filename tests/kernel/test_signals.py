"""Tests signals that ask podwire to end, and inherited states: it ends, and reports how."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.sandboxed import ROOT, podwire

pytestmark = pytest.mark.kernel

PODWIRE = [sys.executable, str(ROOT / "run_topology.py")]
KEEP = [*PODWIRE, "hairpin", "--captures", "none", "--keep"]
INHERIT = """
import os, signal, sys
how, number = sys.argv[1], int(sys.argv[2])
if how == "ignored":
    signal.signal(number, signal.SIG_IGN)
else:
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
os.execvp(sys.argv[3], sys.argv[3:])
"""


@pytest.fixture(autouse=True)
def default_signals() -> Iterator[None]:
    """Gives a test's processes default signals, whatever pytest was started with (nohup, a shell's
    background).
    """
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    usual |= dict.fromkeys((signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU), signal.SIG_DFL)
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def inheriting(how: str, number: signal.Signals) -> list[str]:
    """Returns the start of a command line whose command finds the signal ``ignored`` or ``blocked``."""
    return [sys.executable, "-c", INHERIT, how, str(int(number))]


@contextmanager
def kept(*prefix: str) -> Iterator[subprocess.Popen[str]]:
    """Yields a cluster that stays up, and has said so."""
    with subprocess.Popen(
        [*prefix, *KEEP], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stderr is not None
            assert "stays up until Ctrl-C" in run.stderr.readline()
            yield run
        finally:
            run.kill()


def ends(run: subprocess.Popen[str], seconds: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        run.communicate(timeout=seconds)
        return True
    return False


@pytest.mark.parametrize("how", ["ignored", "blocked"])
@pytest.mark.parametrize(
    "number", [signal.SIGCHLD, signal.SIGTTOU, signal.SIGPIPE, signal.SIGALRM], ids=lambda number: number.name
)
def test_a_run_ends_whatever_signal_it_inherits_ignored_or_blocked(how: str, number: signal.Signals) -> None:
    done = podwire("hairpin", "--captures", "none", prefix=inheriting(how, number), timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_tools_that_fail_are_noticed_where_sigchld_is_inherited_ignored() -> None:
    """Inherits SIGCHLD ignored: tools' exit statuses would be lost then, and 0 be assumed."""
    done = podwire(
        "hairpin",
        "--captures",
        "none",
        "--iptables",
        "nft",
        prefix=[*inheriting("ignored", signal.SIGCHLD), "env", "XTABLES_LIBDIR=/"],
    )
    assert done.returncode == 3, done.stdout + done.stderr


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name
)
def test_a_blocked_signal_ends_it_all_the_same(number: signal.Signals) -> None:
    with kept(*inheriting("blocked", number)) as run:
        run.send_signal(number)
        assert ends(run, 30)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name
)
def test_an_ignored_signal_stays_ignored_and_another_one_ends_it(number: signal.Signals) -> None:
    """Ignores SIGHUP as nohup(1) does, and SIGINT as the background of a shell without job control does."""
    with kept(*inheriting("ignored", number)) as run:
        run.send_signal(number)
        assert not ends(run, 0.7)
        run.send_signal(signal.SIGINT if number == signal.SIGTERM else signal.SIGTERM)
        assert ends(run, 30)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name
)
@pytest.mark.parametrize("delay", [0.1, 0.6])
def test_the_exit_code_names_the_signal_that_ended_it(number: signal.Signals, delay: float) -> None:
    """Interrupts it while manifests are read, and while packets are sent (the default topology takes about a
    second).
    """
    with subprocess.Popen(
        [*PODWIRE, "--captures", "none"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        time.sleep(delay)
        run.send_signal(number)
        _, err = run.communicate(timeout=40)
    # -n: in the first moments, which Python spends on itself
    assert run.returncode in (128 + number, -number), err
    if run.returncode > 0:
        assert err == "podwire: interrupted; everything is cleaned up\n"


@pytest.mark.parametrize(
    "words", [[str(ROOT / "run_topology.py")], ["-m", "emulator"]], ids=["script", "module"]
)
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name
)
def test_a_signal_during_imports_is_told_as_any_other(
    words: list[str], number: signal.Signals, tmp_path: Path
) -> None:
    """Sends the signal from one of the first modules that are imported."""
    (tmp_path / "argparse.py").write_text(f"import os\nos.kill(os.getpid(), {number})\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, *words, "list"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        128 + number,
        "podwire: interrupted; everything is cleaned up\n",
    )


def test_a_signal_that_is_ignored_stays_ignored_during_imports(tmp_path: Path) -> None:
    """Ignores SIGHUP, as nohup(1) does."""
    (tmp_path / "argparse.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGHUP)\nraise SystemExit(7)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(
        [*inheriting("ignored", signal.SIGHUP), *PODWIRE, "list"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (7, "")


def test_a_worker_that_does_not_heed_a_polite_signal_is_killed_in_time() -> None:
    script = f"""
import signal, sys, time
sys.path.insert(0, {str(ROOT)!r})
from emulator.kernel import sandbox
sandbox._GRACE = 0.5
def inside(_):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("up", flush=True)
    time.sleep(60)
sandbox.run(inside)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "up\n"
        run.send_signal(signal.SIGINT)
        try:
            assert ends(run, 20)
        finally:
            run.kill()


# --- terminals ----------------------------------------------------------------------------------------------


def _take_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """Describes a process on a terminal of its own, whose background processes must not write to it (``stty
    tostop``).
    """

    def __init__(self, command: list[str]) -> None:
        self.fd, theirs = pty.openpty()
        attributes = termios.tcgetattr(theirs)
        attributes[3] |= termios.TOSTOP
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=_take_terminal
        )
        os.close(theirs)
        self.text = ""

    def read(self, seconds: float, until: str = "") -> str:
        """Returns the output so far: waits until it contains ``until``, or no process writes there any
        more.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not (until and until in self.text):
            if select.select([self.fd], [], [], left)[0]:
                try:
                    data = os.read(self.fd, 1 << 16)
                except OSError:  # EIO: the last one has closed it
                    break
                self.text += data.decode(errors="replace").replace("\r\n", "\n")
        return self.text

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def hang_up(self) -> None:
        os.close(self.fd)
        self.fd = -1

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.fd >= 0:
            os.close(self.fd)


@contextmanager
def terminal(*command: str) -> Iterator[Terminal]:
    one = Terminal(list(command))
    try:
        yield one
    finally:
        one.close()


def test_a_terminal_that_stops_background_writers_gets_the_report() -> None:
    with terminal(*PODWIRE, "hairpin", "--captures", "none") as screen:
        assert "PASS" in screen.read(40)
        assert screen.process.wait(20) == 0


def test_the_word_that_it_was_interrupted_has_a_line_of_its_own() -> None:
    with terminal(*PODWIRE, "three-networks", "--captures", "none") as screen:
        time.sleep(0.6)
        screen.type("\x03")
        lines = screen.read(40).splitlines()
        assert lines[-1] == "podwire: interrupted; everything is cleaned up"
        assert screen.process.wait(20) == 130
