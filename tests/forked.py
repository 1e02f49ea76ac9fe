"""Runs the command line in a fork of the tests' process, which has imported podwire already: imports are some
0.45 s of the processor's time of each run.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from tempfile import TemporaryFile
from typing import BinaryIO, NoReturn

import emulator.cli
import emulator.run.diff
import emulator.run.run

_HIGHEST = 1 << 16  # descriptors of the tests' process that are closed


def forked(*words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Returns what ``podwire WORDS`` does, without any input. Raises TimeoutExpired, after SIGTERM."""
    with TemporaryFile() as stdout, TemporaryFile() as stderr:
        with warnings.catch_warnings():  # the fork has one thread, and needs no other
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _become(words, stdout, stderr)
        status = _wait(pid, timeout)
        said = []
        for file in (stdout, stderr):
            file.seek(0)
            said.append(file.read().decode())
    if status is None:
        raise subprocess.TimeoutExpired(["podwire", *words], timeout, *said)
    return subprocess.CompletedProcess(
        ["podwire", *words], os.waitstatus_to_exitcode(status), stdout=said[0], stderr=said[1]
    )


def _become(words: tuple[str, ...], stdout: BinaryIO, stderr: BinaryIO) -> NoReturn:
    code = 1
    try:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(stdout.fileno(), 1)
        os.dup2(stderr.fileno(), 2)
        os.closerange(3, _HIGHEST)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        sys.argv = ["podwire", *words]
        os.environ["COLUMNS"] = "160"
        code = emulator.cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _wait(pid: int, timeout: float) -> int | None:
    """Returns the status with which ``pid`` ended; None if it had to be told to."""
    deadline, told = time.monotonic() + timeout, False
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return None if told else status
        if time.monotonic() > deadline and not told:
            os.kill(pid, signal.SIGTERM)
            told = True
        time.sleep(0.01)
