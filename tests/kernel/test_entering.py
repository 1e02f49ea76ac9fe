"""Tests ``podwire exec`` and ``shell``: the command has this terminal, its signals and its exit code, and
ends with its caller.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.test_sandbox import alive
from tests.kernel.test_signals import KEEP, PODWIRE, default_signals, inheriting, kept, terminal  # noqa: F401 - a fixture
from tests.sandboxed import ROOT

pytestmark = pytest.mark.kernel

SECONDS = 30  # for what takes a moment, on a busy machine too


@pytest.fixture(scope="module")
def cluster() -> Iterator[int]:
    with kept() as run:
        yield run.pid
        run.terminate()
        run.communicate(timeout=SECONDS)


def exec_words(cluster: int, *command: str) -> list[str]:
    return [*PODWIRE, "exec", "--cluster", str(cluster), "worker-1", "--", *command]


def processes(mark: str) -> list[int]:
    """Returns the processes that have ``mark`` among their arguments, podwire's own apart."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(mark.encode() in word for word in words) and not any(
            b"run_topology.py" in word for word in words
        ):
            found.append(int(path.parent.name))
    return [pid for pid in found if alive(pid)]


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return met


def mark() -> str:
    """Returns an argument by which a process is known: a time to sleep that nobody else uses."""
    return f"6{int.from_bytes(os.urandom(4), 'big') % 10**9:09}"


COMMANDS = {
    "a long command": ["sleep", "{}"],
    "its children": ["sh", "-c", "sleep {} & sleep {} & wait"],
    "one that left its session": ["sh", "-c", "setsid sleep {} & sleep {}"],
    "one that left its parent": ["sh", "-c", "(setsid sleep {} &) ; sleep {}"],
    "one that ignores the signal": ["sh", "-c", "trap '' TERM HUP; sleep {}; sleep {}"],
}


@pytest.mark.parametrize(
    ("command", "number"),
    [
        *((command, number) for command in COMMANDS for number in (signal.SIGTERM, signal.SIGKILL)),
        ("a long command", signal.SIGHUP),
    ],
)
def test_the_command_goes_with_who_asked_for_it(cluster: int, command: str, number: signal.Signals) -> None:
    one = mark()
    words = exec_words(cluster, *(word.replace("{}", one) for word in COMMANDS[command]))
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        try:
            assert within(
                SECONDS,
                lambda: (
                    len(processes(one))
                    >= " ".join(COMMANDS[command]).count("{}") - (command == "one that ignores the signal")
                ),
            )
            run.send_signal(number)
            assert run.wait(SECONDS) == (-number if number == signal.SIGKILL else 128 + number)
            assert within(SECONDS, lambda: not processes(one))
        finally:
            run.kill()


def test_a_command_that_is_asked_to_end_may_say_a_last_word(cluster: int) -> None:
    """Behaves like tcpdump, which writes what it has captured."""
    words = exec_words(
        cluster, "sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    )
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "up\n"
        run.terminate()
        assert run.stdout.read() == "bye\n"
        assert run.wait(SECONDS) == 143


def test_what_a_command_leaves_in_the_background_stays(cluster: int) -> None:
    """Starts a server by hand, as in a container."""
    one = mark()
    done = subprocess.run(
        exec_words(cluster, "sh", "-c", f"sleep {one} >/dev/null 2>&1 & exit 4"), check=False, timeout=SECONDS
    )
    assert done.returncode == 4
    (server,) = processes(one)
    os.kill(server, signal.SIGKILL)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -9 $$"], 137),
        (["no-such"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_the_exit_code_is_the_command_s(cluster: int, command: list[str], code: int) -> None:
    assert (
        subprocess.run(
            exec_words(cluster, *command), check=False, stderr=subprocess.DEVNULL, timeout=SECONDS
        ).returncode
        == code
    )


@pytest.mark.parametrize("name", ["\x1b[31mno-such", "a\nb", b"\xff\x1b"], ids=ascii)
def test_a_command_that_is_not_there_is_named_without_escapes(cluster: int, name: str | bytes) -> None:
    words = [os.fsencode(word) for word in (*exec_words(cluster), name)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.returncode == 127
    assert done.stderr.endswith(": not found on this machine (Pods share its file system)\n"), done.stderr
    assert done.stderr.rstrip("\n").isprintable()


@pytest.mark.parametrize(
    "words",
    [
        ["--cluster", "{}", "worker-1", "--", "echo", "--cluster", "-x"],
        ["worker-1", "--cluster", "{}", "--", "echo", "--cluster", "-x"],
        ["worker-1", "--cluster={}", "--", "echo", "--cluster", "-x"],
        ["--cluster", "{}", "worker-1", "echo", "--cluster", "-x"],
    ],
)
def test_options_stand_before_the_command_on_either_side_of_the_name(cluster: int, words: list[str]) -> None:
    """Takes options on both sides of NAME, as kubectl exec does."""
    line = [*PODWIRE, "exec", *(word.format(cluster) for word in words)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "--cluster -x\n", "")


@pytest.mark.parametrize("words", [["-x", "--", "sh"], ["--cluster", "1"], ["--nosuch", "sh"]])
def test_what_is_no_option_of_exec_is_refused(cluster: int, words: list[str]) -> None:
    done = subprocess.run(
        [*PODWIRE, "exec", "worker-1", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert done.stderr.startswith("podwire: ")


def test_a_command_has_the_host_name_and_the_links_of_its_place(cluster: int) -> None:
    """Runs as in a Pod; this machine and the cluster keep their names and mounts."""
    before = os.uname().nodename
    look = 'hostname; ls /sys/class/net; mount -t tmpfs x /mnt && echo "mounted"'
    words = [*PODWIRE, "exec", "--cluster", str(cluster), "echo", "-i", "--", "sh", "-c", look]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert done.stdout.split() == ["echo", "eth0", "lo", "mounted"], done.stderr
    assert os.uname().nodename == before
    mounts = subprocess.run(
        exec_words(cluster, "cat", "/proc/1/mounts"), capture_output=True, text=True, check=True
    )
    assert " /mnt " not in mounts.stdout


def test_with_t_a_command_has_a_terminal_of_its_own(cluster: int) -> None:
    """Has no terminal itself, too: the end of the piped input ends the command's."""
    words = [*PODWIRE, "exec", "--cluster", str(cluster), "-it", "worker-1", "--"]
    look = "test -t 0 -a -t 1 && tty && stty size; cat; exit 3"
    done = subprocess.run(
        [*words, "sh", "-c", look],
        input="piped\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 3
    assert re.fullmatch(r"(?s)(piped\n)?/dev/pts/\d+\n24 80\n.*piped\n", done.stdout), done
    with terminal(*words, "sh", "-c", "trap 'echo caught; exit 9' INT; tty; sleep 60 & wait") as screen:
        assert "/dev/pts/" in screen.read(SECONDS, "/dev/pts/")
        screen.type("\x03")
        assert "caught" in screen.read(SECONDS, "caught")
        assert screen.process.wait(SECONDS) == 9


def test_a_command_is_found_without_a_path(cluster: int) -> None:
    words = ["env", "-i", *exec_words(cluster, "ip", "-br", "link")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert "cbr0" in done.stdout, done.stderr


def test_a_command_finds_the_signals_that_podwire_was_started_with(cluster: int) -> None:
    look = exec_words(cluster, "grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status")
    plain = subprocess.run(look, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"(?m):\s+(\S+)$", plain) == ["0" * 16, "0" * 16]
    nohup = subprocess.run(
        [*inheriting("ignored", signal.SIGHUP), *look], capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"(?m):\s+(\S+)$", nohup) == ["0" * 16, "0" * 15 + "1"]


def test_a_cluster_that_ends_says_why_the_command_did() -> None:
    with (
        kept() as run,
        subprocess.Popen(
            exec_words(run.pid, "sh", "-c", "echo up; sleep 60"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as inside,
        terminal(*PODWIRE, "exec", "-it", "--cluster", str(run.pid), "worker-1", "--", "sh") as screen,
    ):
        assert inside.stdout is not None
        assert inside.stdout.readline() == b"up\n"
        assert "# " in screen.read(SECONDS, "# ")
        run.terminate()
        said = f"its cluster has ended. This is {os.uname().nodename} again"
        assert said in screen.read(SECONDS, "again")
        _, err = inside.communicate(timeout=SECONDS)
        assert (inside.returncode, err) == (137, b"podwire: the command was killed: its cluster has ended\n")


# --- terminals ----------------------------------------------------------------------------------------------


def test_a_terminal_that_is_closed_takes_the_command_along(cluster: int) -> None:
    one = mark()
    with terminal(
        *exec_words(cluster, "sh", "-c", f"echo up; setsid sleep {one} & trap '' HUP; sleep {one}")
    ) as screen:
        assert "up" in screen.read(SECONDS, "up")
        assert within(SECONDS, lambda: len(processes(one)) >= 2)
        screen.hang_up()
        assert within(SECONDS, lambda: not processes(one))


def test_a_shell_that_is_killed_takes_its_jobs_along(cluster: int) -> None:
    one = mark()
    with terminal(
        "env", "SHELL=/bin/bash", *PODWIRE, "shell", "--cluster", str(cluster), "worker-1"
    ) as screen:
        screen.read(SECONDS, "# ")
        screen.type(f"sleep {one} & (setsid sleep {one} &); sleep {one}\n")
        assert within(SECONDS, lambda: len(processes(one)) == 3)
        screen.process.kill()
        assert within(SECONDS, lambda: not processes(one))


def test_a_command_that_was_stopped_goes_too(cluster: int) -> None:
    """Stops it with Ctrl-Z, which stops the terminal's whole foreground; then closes its terminal."""
    one = mark()
    with terminal(*exec_words(cluster, "sleep", one)) as screen:
        assert within(SECONDS, lambda: bool(processes(one)))
        screen.type("\x1a")
        time.sleep(0.2)
        screen.process.kill()
        assert within(SECONDS, lambda: not processes(one))


def test_ctrl_c_is_the_command_s_affair(cluster: int) -> None:
    with terminal(
        *exec_words(cluster, "sh", "-c", "trap 'echo caught; exit 9' INT; echo up; sleep 60 & wait")
    ) as screen:
        screen.read(SECONDS, "up")
        screen.type("\x03")
        assert "caught" in screen.read(SECONDS, "caught")
        assert screen.process.wait(SECONDS) == 9


SCRIPT = """\
SHELL=/bin/bash {podwire} shell --cluster {cluster} worker-1
echo shell ended with $?
read -r word && echo "read $word"
"""


def test_a_shell_has_the_terminal_and_gives_it_back(cluster: int, tmp_path: Path) -> None:
    """Returns the terminal to a script that goes on to read from it, in a job of an interactive shell."""
    (tmp_path / "script").write_text(SCRIPT.format(podwire=" ".join(PODWIRE), cluster=cluster))
    with terminal("bash", "--norc", "--noprofile", "-i") as screen:
        before = ""
        for typed, answer in (
            (f"sh {tmp_path}/script", "# "),
            ("PS1=inner; ip -br link show cbr0 | cut -c1-4", "cbr0"),
            ("sleep 0.1 & wait; read -r line", "Done"),
            ("typed", "inner"),
            ('echo "got $line"; exit 5', "shell ended with 5"),
            ("hello", "read hello"),
        ):
            before, screen.text = before + screen.text, ""
            screen.type(f"{typed}\n")
            assert answer in screen.read(SECONDS, answer), before + screen.text
        assert "got typed" in before
        assert "[worker-1 @ hairpin] # " in before


def test_what_is_pasted_behind_a_shell_that_is_refused_does_not_run_on_this_machine(cluster: int) -> None:
    """Drops the lines, which were meant for the Pod."""
    refused = f"{' '.join(PODWIRE)} shell --cluster {cluster} nobody"
    with terminal("sh", "-c", f"echo up; sleep 0.5; {refused}; read -r word; echo read=$word") as screen:
        screen.read(SECONDS, "up")
        screen.type("rm -r /tmp/x\n")
        assert "this is still " in screen.read(SECONDS, "this is still ")
        screen.type("typed\n")
        assert "read=typed" in screen.read(SECONDS, "read=typed")


# --- beside a run that ends by itself -----------------------------------------------------------------------

PASSING = f"""
import subprocess, sys, time
sys.path.insert(0, {str(ROOT)!r})
passing = subprocess.Popen([*{PODWIRE!r}, "affinity-expiry", "--captures", "none"], stdout=subprocess.DEVNULL)
def podwire(*words):
    return subprocess.run([*{PODWIRE!r}, *words], capture_output=True, text=True)
while "affinity" not in (listed := podwire("ps").stdout):
    assert passing.poll() is None
    time.sleep(0.05)
assert "ends by itself" in listed, listed
refused = podwire("exec", "worker-1", "--", "true")
assert refused.returncode == 2, refused
assert f"no cluster stays up, and {{passing.pid}} (affinity-expiry) ends by itself" in refused.stderr, refused
entered = podwire("exec", "--cluster", str(passing.pid), "worker-1", "--", "ip", "-br", "link")
assert "cbr0" in entered.stdout, entered
assert passing.wait() == 0
keep = subprocess.Popen({KEEP!r}, stderr=subprocess.PIPE, text=True)
assert "stays up" in keep.stderr.readline()
assert "ends by itself" not in podwire("ps").stdout
assert podwire("exec", "worker-1", "--", "true").returncode == 0
keep.terminate()
keep.communicate()
"""


def test_exec_enters_what_stays_up() -> None:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *user, "--net", sys.executable, "-c", PASSING],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr


# --- where PID 1 reaps nothing ------------------------------------------------------------------------------

# podwire on a busy machine: it is long in coming to wait for the process that it forked
SLOW_TO_WAIT = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
wait = os.waitpid
def waitpid(*words):
    time.sleep(0.5)
    return wait(*words)
os.waitpid = waitpid
from emulator.cli import main
sys.exit(main())
"""

CARELESS = f"""
import os, signal, subprocess, sys, time
sys.path.insert(0, {str(ROOT)!r})
keep = subprocess.Popen({KEEP!r}, stderr=subprocess.PIPE, text=True)
assert "stays up" in keep.stderr.readline()
def podwire(*words):
    return subprocess.Popen([sys.executable, "-c", {SLOW_TO_WAIT!r}, *words], stdout=subprocess.PIPE, \
text=True)
for _ in range(3):
    inside = podwire("exec", "worker-1", "--", "sh", "-c", "sleep 600 & echo up; wait")
    assert inside.stdout.readline() == "up\\n"
    os.kill(inside.pid, signal.SIGKILL)
began = time.monotonic()
keep.send_signal(signal.SIGINT)
keep.wait(60)
print("ended after", time.monotonic() - began)
"""


def test_a_cluster_ends_where_pid_1_of_the_machine_reaps_nothing() -> None:
    """Leaves a zombie: a process whose parent outside the sandbox has ended holds the PID namespace."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *user, "--pid", "--fork", "--mount-proc", "--net", sys.executable, "-c", CARELESS],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.rsplit(" ", 1)[1]) < 9, done.stdout


STUCK = f"""
import os, signal, subprocess, sys, time
sys.path.insert(0, {str(ROOT)!r})
from emulator.kernel import sandbox
sandbox._GRACE = 0.5
go, gone = os.pipe()
child = os.fork()
if child == 0:
    os.close(gone)
    sandbox.run(lambda _: (print("up", flush=True), os.read(go, 1)))
    print("ended", flush=True)
    os._exit(0)
def wait_for(find):
    while not (found := find()):
        time.sleep(0.01)
    return found
def inside():
    own = os.stat("/proc/self/ns/pid").st_ino
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{{pid}}/ns/pid").st_ino != own:
                return pid
        except OSError:
            pass
def sleeps():
    return subprocess.run(["pgrep", "-x", "sleep"], stdout=subprocess.DEVNULL).returncode == 0
init = wait_for(inside)
intruder = subprocess.Popen(["nsenter", "-t", init, "-p", "sleep", "600"])
wait_for(sleeps)
os.kill(intruder.pid, signal.SIGKILL)
intruder.wait()
os.write(gone, b"x")
os.waitpid(child, 0)
"""


def test_a_sandbox_that_cannot_end_is_not_waited_for() -> None:
    """Enters it without podwire, by nsenter(1)."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *user, "--pid", "--fork", "--mount-proc", "--net", sys.executable, "-c", STUCK],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.split() == ["up", "ended"], done.stderr
    assert "PID 1 of this machine does not reap it" in done.stderr
