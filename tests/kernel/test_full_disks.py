"""Tests places that cannot be written: the verdicts come out all the same, with a word on what is missing and
why.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import UNSHARE
from tests.kernel.test_cli import FAILING
from tests.sandboxed import ROOT, podwire

pytestmark = pytest.mark.kernel

PODWIRE = [sys.executable, str(ROOT / "run_topology.py")]
ON_TMPFS = (
    'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && "$@"; code=$?; find "$0" -name ".podwire-*" >&2; '
    "exit $code"
)


def on_tmpfs(options: str, place: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Runs podwire where ``place`` is a small file system of its own; prints its leftover temporary files
    there on standard error.
    """
    command = [*UNSHARE, "sh", "-c", ON_TMPFS, str(place), options, str(place), *PODWIRE, *words]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, check=False, timeout=60)


@pytest.mark.parametrize("size", ["4k", "32k", "64k"])
def test_a_full_disk_costs_evidence_and_no_verdict(size: str, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    words = [
        "hairpin",
        "--captures",
        str(place),
        "--json",
        str(tmp_path / "r.json"),
        "--junit",
        str(tmp_path / "r.xml"),
    ]
    done = on_tmpfs(f"size={size}", place, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (word,) = done.stderr.splitlines()
    assert word.startswith("podwire: evidence is not complete: cannot write ")
    assert word.count("No space left on device") == 1
    assert " as promised" in done.stdout
    assert "note: " + word.removeprefix("podwire: ") in " ".join(done.stdout.split())
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["notices"][-1] == word.removeprefix("podwire: ")
    assert (
        (tmp_path / "r.xml").read_text().count("<testcase")
        >= len(report["flows"])
        == report["summary"]["pass"]
    )
    assert any(not flow["captures"] for flow in report["flows"]), "what is missing is not named"


def test_a_failure_keeps_its_exit_code_on_a_full_disk(tmp_path: Path) -> None:
    done = on_tmpfs("size=16k", tmp_path, "-", "--captures", str(tmp_path / "c"), "-o", "json", stdin=FAILING)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["fail"] == 1
    assert "evidence is not complete" in report["notices"][-1]


def test_a_report_on_the_disk_that_evidence_fills_is_written_first(tmp_path: Path) -> None:
    words = [
        "--captures",
        str(tmp_path / "c"),
        "--json",
        str(tmp_path / "r.json"),
        "--junit",
        str(tmp_path / "r.xml"),
    ]
    done = on_tmpfs("size=100k", tmp_path, "hairpin", *words)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("captures", ["none", "evidence"])
def test_a_named_report_that_has_no_room_is_exit_code_2_after_the_verdicts(
    captures: str, tmp_path: Path
) -> None:
    directory = "none" if captures == "none" else str(tmp_path / captures)
    done = on_tmpfs(
        "size=4k", tmp_path, "hairpin", "--captures", directory, "--json", str(tmp_path / "r.json")
    )
    assert done.returncode == 2, done.stderr
    assert f"podwire: cannot write {tmp_path / 'r.json'}: No space left on device" in done.stderr
    assert " as promised" in done.stdout


@pytest.mark.parametrize("option", ["--json", "--junit"])
@pytest.mark.parametrize(
    "command", [["run"], ["diff", "--modes", "iptables,nftables"]], ids=lambda command: command[0]
)
def test_a_named_report_that_cannot_be_is_exit_code_2_after_the_verdicts(
    command: list[str], option: str
) -> None:
    done = podwire(*command, "hairpin", "--captures", "none", option, "/proc/nowhere")
    assert (done.returncode, done.stderr.count("cannot write /proc/nowhere: ")) == (2, 1)
    assert "iptables" in done.stdout


def test_a_read_only_directory_costs_evidence_and_no_verdict(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *UNSHARE,
            "sh",
            "-c",
            'mount -t tmpfs -o ro none "$1" && cd "$1" && shift && exec "$@"',
            "sh",
            str(tmp_path),
            *PODWIRE,
            "hairpin",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, " as promised" in done.stdout) == (0, True)
    word = (
        "evidence is not complete: cannot write captures/hairpin: Read-only file system (--captures "
        "names another directory, or none)"
    )
    assert done.stderr == f"podwire: {word}\n"
    assert f"note: {word}" in " ".join(done.stdout.split())


def test_a_comparison_says_what_is_missing_and_compares(tmp_path: Path) -> None:
    (tmp_path / "captures").write_text("a file in its way")
    done = podwire("diff", "hairpin", "--modes", "iptables,nftables", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "evidence is not complete: cannot write captures/hairpin-nftables: Not a directory" in done.stderr
    assert "Evidence:" not in done.stdout


def test_a_limit_on_file_sizes_costs_evidence_and_no_verdict(tmp_path: Path) -> None:
    done = limited(
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        "hairpin",
        "--captures",
        str(tmp_path),
    )
    assert (done.returncode, " as promised" in done.stdout) == (0, True), done.stderr
    assert "File too large" in done.stderr
    assert not list(tmp_path.rglob(".podwire-*"))
    assert (tmp_path / "hairpin" / "index.json").is_file()


def limited(limit: Callable[[], None], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PODWIRE, *words], capture_output=True, text=True, check=False, preexec_fn=limit, timeout=60
    )


def test_standard_output_on_a_full_disk_costs_no_other_output(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        words = ["hairpin", "--captures", str(tmp_path / "c"), "--json", str(tmp_path / "r.json")]
        done = subprocess.run([*PODWIRE, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "podwire: cannot write to standard output: No space left on device\n",
    )
    assert json.loads((tmp_path / "r.json").read_text())["summary"]["ok"]
    assert (tmp_path / "c" / "hairpin" / "all.pcapng").is_file()


@pytest.mark.parametrize("words", [["-v"], ["-vv"], ["--captures", "/proc/nowhere"]], ids=" ".join)
def test_standard_error_on_a_full_disk_costs_nothing(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*PODWIRE, "hairpin", "--captures", "none", *words],
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            check=False,
        )
    assert (done.returncode, " as promised" in done.stdout) == (0, True)


def test_an_interrupted_run_leaves_no_temporary_file(tmp_path: Path) -> None:
    """Interrupts it while it writes its evidence into a pipe that nobody reads, where it stands still."""
    os.mkfifo(tmp_path / "r.json")
    with subprocess.Popen(
        [*PODWIRE, "hairpin", "--captures", str(tmp_path), "--json", str(tmp_path / "r.json")],
        stderr=subprocess.PIPE,
    ) as run:
        run.terminate()
        run.communicate(timeout=20)
    assert not list(tmp_path.rglob(".podwire-*"))
