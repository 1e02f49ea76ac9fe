"""Builds a kustomization with ``kubectl kustomize`` or ``kustomize build``. Starts one process.

The process gets its arguments as a list, a time limit, and an environment in which neither Go's HTTP client
nor git reaches anything: a remote base is never fetched unnoticed. kustomize runs programs and functions, and
leaves its directory, only with flags that it is not given.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from ..load.faults import cut
from ..load.kustomization import KustomizationError, pipe
from ..load.yamltext import MAX_BYTES

TIME_LIMIT = 60.0  # seconds
_TOOLS = (("kubectl", "kustomize"), ("kustomize", "build"))
# in kubectl's log line: before its message, and after it
_LOG_PREFIX = re.compile(r'\A[EF][0-9]{4} .*?err=[<"]? ?')
_LOG_SUFFIX = re.compile(r'(?:"| >)\Z')
_MISSING = re.compile(r"\b(?:lstat|stat|open) (/.+?): no such file or directory")
_FETCHED = re.compile(r"\bgit fetch\b|\bproxyconnect\b")
_NAMELESS = "missing metadata.name"
_NAMED = "kustomize wants a metadata.name of every object, a Cluster's too"
_NOWHERE = "http://127.0.0.1:9"  # the discard port: no proxy listens there


def build(directory: Path) -> str:
    """Returns the manifests of the kustomization in ``directory``. Raises KustomizationError."""
    tool = next((words for words in _TOOLS if shutil.which(words[0])), None)
    if tool is None:
        raise KustomizationError(
            "is a kustomization, and neither kubectl nor kustomize is here to build it", pipe(directory)
        )
    try:
        done = subprocess.run(
            [*tool, os.path.abspath(directory)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIME_LIMIT,
            env=_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise KustomizationError(f"is not built after {TIME_LIMIT:.0f} s", pipe(directory)) from None
    except OSError as error:
        raise KustomizationError(f"cannot be built: {tool[0]}: {error.strerror}", pipe(directory)) from None
    if done.returncode:
        said = _message(done.stderr.decode(errors="replace"))
        if missing := _missing_file(said, directory):
            what = f"cannot be built: it names {missing}, and there is no such file"
            raise KustomizationError(what, "put the file there, or mend the kustomization that names it")
        what = f"cannot be built, {' '.join(tool)} says: {_end(said)}"
        hint = _NAMED if _NAMELESS in said else ""
        if _FETCHED.search(said):
            hint = f"podwire lets it fetch nothing from elsewhere: {pipe(directory)}"
        raise KustomizationError(what, hint)
    if len(done.stdout) > MAX_BYTES:
        raise KustomizationError(f"makes more than {MAX_BYTES >> 20} MiB of manifests")
    return done.stdout.decode(errors="replace")


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _NOWHERE)
    return {**kept, **proxies, "GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0"}


def _message(log: str) -> str:
    """Returns the tool's message in ``log``, as one line."""
    line = " ".join(log.split())
    said = _LOG_PREFIX.sub("", line)
    return said if said == line else _LOG_SUFFIX.sub("", said).replace('\\"', '"')


def _missing_file(said: str, directory: Path) -> str:
    """Returns which file or directory is missing, as seen from ``directory``; "" if something else is wrong.

    A resource that is no file is tried as a repository, too.
    """
    found = _MISSING.search(said)
    if not found or _FETCHED.search(said):
        return ""
    return cut(os.path.relpath(found[1], os.path.abspath(directory)))


def _end(text: str, longest: int = 300) -> str:
    """Returns ``text``; where it is longer, its end alone, where the cause is."""
    if len(text) <= longest:
        return text
    end = text[-longest:]
    return f"… {end[end.find(' ') + 1 :]}"
