"""Types the commands of tests/golden/apiserver/commands.yaml at an API server, and compares answers.

An answer is the exit code, standard output and standard error of one kubectl command. :func:`normal` masks
what another run, machine or seed gives out anew: times, uids, resource versions, hashes, addresses.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DIRECTORY = Path(__file__).parent / "golden" / "apiserver"
ANSWERS = DIRECTORY / "answers.jsonl.gz"
SETTLE = "settle"
LONGEST = 75  # seconds that a command may take

# Controllers and kubelets raise the resource versions of these.
_MOVING = "pods,deployments,replicasets,statefulsets,daemonsets,jobs,endpointslices,serviceaccounts,pdb,quota"


class Command(NamedTuple):
    """Describes one line of commands.yaml."""

    scenario: str
    number: int  # the line in its scenario, from 1
    argv: tuple[str, ...]
    stdin: str  # the name of a file; "" for none
    compare: str  # "all", "lines" (in any order), "last" (line of standard output), "exit" (the code alone)

    @property
    def id(self) -> str:
        return f"{self.scenario}-{self.number:02}"


class Answer(NamedTuple):
    code: int
    stdout: str
    stderr: str


def read_commands() -> tuple[dict[str, str], list[Command]]:
    """Returns the files, by name, and the commands in their order."""
    document = yaml.safe_load((DIRECTORY / "commands.yaml").read_text())
    commands = [
        _command(scenario, number, line)
        for scenario, lines in document["scenarios"].items()
        for number, line in enumerate(lines.splitlines(), 1)
    ]
    return document["files"], commands


def _command(scenario: str, number: int, line: str) -> Command:
    line, _, compare = line.partition("  # ")
    line, _, stdin = line.partition("  < ")
    return Command(scenario, number, tuple(shlex.split(line)), stdin, compare or "all")


def read_answers() -> dict[str, dict[str, Any]]:
    """Returns the recorded answers by command id: argv, code, stdout, stderr, and the requests that kubectl
    made for them.
    """
    with gzip.open(ANSWERS, "rt") as lines:
        return {row["id"]: row for row in map(json.loads, lines)}


def read_differences() -> dict[str, set[str]]:
    """Returns the fields in which podwire's answer to a command is known to differ, by command id."""
    document = yaml.safe_load((DIRECTORY / "differences.yaml").read_text()) or []
    found: dict[str, set[str]] = {}
    for entry in document:
        for name in entry["commands"]:
            found.setdefault(name, set()).update(entry["fields"])
    return found


class Terminal:
    """Types commands in ``directory``, which it fills with the files, at the server of ``kubeconfig``."""

    def __init__(self, kubectl: str, kubeconfig: Path, directory: Path) -> None:
        self.kubectl = kubectl
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self._text = yaml.safe_load(kubeconfig.read_text())
        files, _ = read_commands()
        for name, text in files.items():
            (directory / name).write_text(text)
        # None of the caller's settings reaches kubectl, and its cache is its own.
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "KUBECONFIG": str(self.kubeconfig),
            "LC_ALL": "C.UTF-8",
        }
        self._namespace = ""

    def type(self, command: Command) -> Answer:
        """Returns the server's answer; its exit code is 124 where there was none for :data:`LONGEST`."""
        self._enter(command.scenario)
        if command.argv == (SETTLE,):
            self.settle()
            return Answer(0, "", "")
        stdin = (self.directory / command.stdin).read_text() if command.stdin else ""
        return self.run(*command.argv[1:], stdin=stdin)

    def run(self, *arguments: str, stdin: str = "") -> Answer:
        try:
            done = subprocess.run(
                [self.kubectl, *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                timeout=LONGEST,
                check=False,
                cwd=self.directory,
                env=self.environment,
            )
        except subprocess.TimeoutExpired:
            return Answer(124, "", f"no end after {LONGEST} s\n")
        return Answer(done.returncode, done.stdout, done.stderr)

    def settle(self, quiet: float = 1.0, longest: float = 20.0) -> None:
        """Returns when no object has changed for ``quiet`` seconds, at the latest after ``longest``."""
        versions, since, end = "", time.monotonic(), time.monotonic() + longest
        while time.monotonic() < end:
            columns = "V:.metadata.uid,R:.metadata.resourceVersion"
            now = self.run("get", _MOVING, "-o", f"custom-columns={columns}").stdout
            if now != versions:
                versions, since = now, time.monotonic()
            elif time.monotonic() - since > quiet:
                return
            time.sleep(0.4)

    def _enter(self, namespace: str) -> None:
        if namespace != self._namespace:
            self._namespace = namespace
            document = json.loads(json.dumps(self._text))
            for context in document["contexts"]:
                context["context"]["namespace"] = namespace
            self.kubeconfig.touch(mode=0o600)
            self.kubeconfig.write_text(yaml.safe_dump(document))


# --- what is the same in every run --------------------------------------------------------------------------

_RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"  # apimachinery/pkg/util/rand: no vowels
_MASKS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.MULTILINE), mask)
    for pattern, mask in (
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UID"),
        (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000( UTC)?", "TIME"),
        (r"(\b[nN]odeName\"?: ?\"?)(worker-\d|control-plane)\b", r"\1NODE"),
        (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
        (r"^([-+] ?)?(\s*(?:resourceVersion|\"resourceVersion\"): )\"\d+\"", r'\2"VERSION"'),
        (r"(\"resourceVersion\":)\"\d+\"", r'\1"VERSION"'),
        (r"(resourceVersion|resource version):? ?\"?\d+\"?", r"\1 VERSION"),
        (r"(Resource Version: +)\d+", r"\1VERSION"),
        (r"(HealthCheck NodePort: +)\d+", r"\1NODE-PORT"),
        (r"(VERSION, current: )\d+", r"\1VERSION"),
        (rf"\b([a-z0-9-]+?)-{_RANDOM}{{8,10}}-{_RANDOM}{{5}}\b", r"\1-HASH-RANDOM"),
        (rf"\b([a-z][a-z0-9-]*?)-{_RANDOM}{{8,10}}\b", r"\1-HASH"),
        (rf"(pod-template-hash[=:\"]+ ?\"?){_RANDOM}{{5,10}}\b", r"\1HASH"),
        (rf"\b([a-z][a-z0-9-]*-){_RANDOM}{{5}}\b", r"\1RANDOM"),
        (r"\b10\.96\.\d+\.\d+\b", "CLUSTER-IP"),
        (r"\b10\.244\.\d+\.\d+\b", "POD-IP"),
        (r"\b172\.(1[6-9]|2\d|3[01])\.\d+\.\d+\b", "NODE-IP"),
        (r"\b127\.0\.0\.1:\d+", "SERVER"),
        (r"\b(3[0-2]\d{3})(?=/(TCP|UDP|SCTP)\b)", "NODE-PORT"),
        (r"(\"?(?:nodePort|healthCheckNodePort)\"?: ?)3[0-2]\d{3}\b", r"\1NODE-PORT"),
        (r"(?<=\s)(<invalid>|(\d+[dhms]){1,2})(?=\s|$)", "AGE"),
        (r"/tmp/[\w./-]+", "FILE"),
        (r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", "TOKEN"),
        (r"\b[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ ", "LOG "),
    )
)
_COLUMNS = re.compile(r"(?<=\S) {2,}(?=\S)")


def normal(text: str) -> str:
    """Returns ``text`` with a mask for each value that a run gives out, two spaces between columns, whose
    width such values change, and the keys of a JSON object that fills a line in their order.
    """
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return "\n".join(_sorted(_COLUMNS.sub("  ", line.rstrip())) for line in text.splitlines())


def _sorted(line: str) -> str:
    if not (line.startswith("{") and line.endswith("}")):
        return line
    try:
        return json.dumps(json.loads(line), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    except ValueError:  # a template, say
        return line


def differences(command: Command, recorded: Mapping[str, Any], seen: Answer) -> Iterator[str]:
    """Yields the fields in which ``seen`` differs from ``recorded``: exit, stdout, stderr."""
    if seen.code != recorded["code"]:
        yield "exit"
    if command.compare == "exit":
        return
    if command.compare == "last":
        if _last(recorded["stdout"]) != _last(normal(seen.stdout)):
            yield "stdout"
        return
    order = sorted if command.compare == "lines" else list
    for field, text in (("stdout", seen.stdout), ("stderr", seen.stderr)):
        if order(recorded[field].rstrip().splitlines()) != order(normal(text).rstrip().splitlines()):
            yield field


def _last(text: str) -> str:
    return text.rpartition("\n")[2]
