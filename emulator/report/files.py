"""Writes evidence: the only module of this room that writes files (os, and a random name for a temporary
file).

Invariants: a file appears under its name complete or not at all; nothing outside the directory is written or
removed, whatever links lie in it; only files that ``index.json`` of an earlier run lists are removed, and
temporary files of a writer that was killed. Every step goes through descriptors of directories that were
opened without following links, since podwire often writes as root where an ordinary user may rename things
meanwhile.

A file has no name while it is written (O_TMPFILE), so that a writer that is killed leaves none. Not every
file system can do so (NFS, hostfs). There it has a name of its own, and its writer holds a lock on it
(flock): the next one that writes into the directory removes those without a lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ..errors import UsageError

INDEX = "index.json"
MOST_ALIKE = 1_000  # inputs of one name with evidence in one directory
OTHER_PLACE = "--captures names another directory, or none"
_INDEX_SCHEMA = "podwire.dev/captures/v1"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,9})")
_NOBODY_AT_ALL = (1 << 32) - 1  # for chown(2): unchanged
_TEMPORARY = re.compile(r"\.podwire-[0-9a-f]{16}\.tmp")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


def check_writable(directory: Path) -> None:
    """Makes ``directory`` and proves that files can be written in it.

    Raises :class:`UsageError` if it is a symbolic link, is no directory, or cannot be written.
    """
    with _reported(directory, OTHER_PLACE), _opened(directory) as fd:
        _prove_writable(fd)


def claim_directory(directory: Path, source: str) -> Path:
    """Returns ``directory``, or the first of NAME-2, NAME-3… beside it that holds no evidence of another
    ``source``; makes it, and proves that files can be written in it. Inputs may be named alike.

    Raises :class:`UsageError` as :func:`check_writable` does.
    """
    for number in range(1, MOST_ALIKE + 1):
        path = directory if number == 1 else directory.with_name(f"{directory.name}-{number}")
        with _reported(path, OTHER_PLACE), _opened(path) as fd:
            with contextlib.suppress(OSError):  # not every file system knows locks
                fcntl.flock(fd, fcntl.LOCK_EX)
            index = _read_index(fd)
            if index.source in ("", source):
                _prove_writable(fd)
                with contextlib.suppress(OSError):  # a full disk: what is missing is told when it is written
                    _write_index(fd, index.files, source)
                return path
    raise UsageError(f"cannot write {directory}: {MOST_ALIKE} other inputs are named alike ({OTHER_PLACE})")


def check_writable_file(path: Path) -> None:
    """Proves that :func:`write_file` can write ``path``; :class:`UsageError` if not."""
    with _reported(path):
        own = _own_descriptor(path)
        if own is not None:
            os.fstat(own)
            return
        if _is_stream(path):
            return
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with _descriptor(os.open(path.parent, _DIRECTORY)) as fd:
            _prove_writable(fd)


Content: TypeAlias = bytes | Iterable[bytes]  # whole, or in pieces


@dataclass(frozen=True, slots=True)
class Saved:
    """Holds the names of the written files, and why others are missing ("" if none is)."""

    names: frozenset[str]
    missing: str = ""


def write_evidence(directory: Path, files: Iterable[tuple[str, Content]]) -> Saved:
    """Writes ``files`` (relative name, content) into ``directory`` and removes the files of the previous run
    that this one did not write.

    A file that cannot be written is left out, and the rest is tried. Raises ``ValueError`` for a name that is
    not made of [A-Za-z0-9._-] and single slashes.
    """
    try:
        with _reported(directory, OTHER_PLACE), _opened(directory) as fd:
            return _write_all(fd, directory, files)
    except UsageError as error:
        return Saved(frozenset(), str(error))


def _write_all(fd: int, directory: Path, files: Iterable[tuple[str, Content]]) -> Saved:
    _remove_abandoned(fd)
    index = _read_index(fd)
    before = index.files
    written: dict[str, None] = {}
    visited: set[tuple[str, ...]] = set()
    missing: list[str] = []
    causes: dict[str, None] = {}
    try:
        for name, content in files:
            if not _SAFE_NAME.fullmatch(name):
                raise ValueError(f"not a safe file name: {name!r}")
            *parents, last = name.split("/")
            try:
                with _descended(fd, parents, create=True) as parent:
                    if parents and (*parents,) not in visited:
                        visited.add((*parents,))
                        _remove_abandoned(parent)
                    _replace(parent, last, content)
                written[name] = None
            except OSError as error:
                missing.append(name)
                causes[error.strerror or str(error)] = None
        for name in before:
            if name not in written:
                _remove(fd, name)
    except MemoryError:
        causes["not enough memory to encode what follows"] = None
    except BaseException:
        with contextlib.suppress(OSError):
            # so that the next run removes the files of this one
            _write_index(fd, [*before, *written], index.source)
        raise
    while True:
        try:
            _write_index(fd, written, index.source)
            break
        except OSError as error:
            causes[error.strerror or str(error)] = None
            if not written:
                break
            name, _ = written.popitem()  # makes room: a file that no index lists would never be removed
            _remove(fd, name)
            missing.append(name)
    return Saved(frozenset(written), _what_is_missing(directory, missing, bool(written), causes))


def _what_is_missing(directory: Path, missing: list[str], any_written: bool, causes: Iterable[str]) -> str:
    why = ", ".join(causes)
    if not why:
        return ""
    if not any_written:
        return f"cannot write {directory}: {why} ({OTHER_PLACE})"
    others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return f"cannot write {missing[0] if missing else INDEX}{others} in {directory}: {why} ({OTHER_PLACE})"


def write_file(path: Path, content: Content) -> None:
    """Writes one file that the user named (``--json``, ``--junit``): replaced as a whole, or written through
    if it is a pipe or a device.

    Raises :class:`UsageError` if that fails.
    """
    with _reported(path):
        own = _own_descriptor(path)
        if own is not None:
            with os.fdopen(own, "wb", buffering=0, closefd=False) as file:
                _write(file, content)
            return
        if _is_stream(path):
            with os.fdopen(_open_stream(path), "wb", buffering=0) as file:
                _write(file, content)
            return
        with _descriptor(os.open(path.parent, _DIRECTORY)) as fd:
            _remove_abandoned(fd)
            _replace(fd, path.name, content)


def open_file(path: Path) -> int:
    """Returns a descriptor of a file that the user named, for what is written piece by piece: a new and empty
    one in place of the old, or of a link; a pipe or a device itself.

    Raises :class:`UsageError` if that fails.
    """
    with _reported(path):
        own = _own_descriptor(path)
        if own is not None:
            return os.dup(own)
        if _is_stream(path):
            return _open_stream(path)
        with _descriptor(os.open(path.parent, _DIRECTORY)) as directory:
            name, fd = _open_named(directory)
            try:
                _give_to_user(fd)
                os.replace(name, path.name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                os.close(fd)
                os.unlink(name, dir_fd=directory)
                raise
            return fd


def append_text(path: Path, text: str) -> None:
    """Appends ``text`` to a file. Raises :class:`UsageError` if that fails."""
    with _reported(path), path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)


@contextlib.contextmanager
def _reported(path: Path, hint: str = "name another place") -> Iterator[None]:
    """Turns an error of the operating system about ``path`` into a :class:`UsageError` that ends with
    ``hint``.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and path.is_symlink():
            raise UsageError(
                f"cannot write {path}: it is a symbolic link; name the directory itself"
            ) from error
        raise UsageError(f"cannot write {path}: {error.strerror} ({hint})") from error


# --- directories ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _descriptor(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    """Yields a descriptor of ``directory``, which is made if need be and may not be a link (its
    parents may). Git ignores what is in the one above it, if that is made too.
    """
    path = Path(os.path.abspath(directory))
    is_new = not os.path.lexists(path.parent)
    with _descriptor(_open_parent(path.parent)) as parent:
        if is_new:
            _ignore_all(parent)
        with _descriptor(_enter(parent, path.name, create=True)) as fd:
            yield fd


def _ignore_all(fd: int) -> None:
    """Writes a ``.gitignore`` into a new directory of evidence, as pytest does into its cache."""
    with contextlib.suppress(OSError):  # a full disk is reported when the evidence is written
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with _descriptor(os.open(".gitignore", flags, 0o644, dir_fd=fd)) as file:
            os.write(file, b"# made by podwire: the evidence of runs\n*\n")
            _give_to_user(file)


def _open_parent(path: Path) -> int:
    try:
        return os.open(path, _DIRECTORY)
    except FileNotFoundError:
        with _descriptor(_open_parent(path.parent)) as parent:
            return _enter(parent, path.name, create=True)


@contextlib.contextmanager
def _descended(fd: int, names: Iterable[str], *, create: bool) -> Iterator[int]:
    """Yields a descriptor of the directory ``names`` below ``fd``."""
    with contextlib.ExitStack() as stack:
        for name in names:
            fd = stack.enter_context(_descriptor(_enter(fd, name, create=create)))
        yield fd


def _enter(parent: int, name: str, *, create: bool) -> int:
    made = False
    if create:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name or ".", dir_fd=parent)  # the root directory has no name, and exists
            made = True
    fd = os.open(name or ".", _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    if made:
        _give_to_user(fd)
    return fd


def _prove_writable(fd: int) -> None:
    unnamed = _open_unnamed(fd)
    if unnamed is not None:
        os.close(unnamed)
        return
    name, named = _open_named(fd)
    os.unlink(name, dir_fd=fd)
    os.close(named)


# --- files ------------------------------------------------------------------------------------------------


def _replace(directory: int, name: str, content: Content) -> None:
    """Writes ``name`` in ``directory``; a link of that name is replaced, not followed."""
    unnamed = _open_unnamed(directory)
    temporary, fd = _open_named(directory) if unnamed is None else ("", unnamed)
    with os.fdopen(fd, "wb", buffering=0) as file:
        try:
            _write(file, content)
            if not temporary:
                linked = _temporary_name()
                os.link(f"/proc/self/fd/{fd}", linked, dst_dir_fd=directory)
                temporary = linked
            _give_to_user(fd)
            os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            if temporary:
                os.unlink(temporary, dir_fd=directory)
            raise


def _open_unnamed(directory: int) -> int | None:
    """Returns a descriptor of a new file without a name; None if the file system cannot make one."""
    try:
        fd = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=directory)
    except OSError:
        return None  # opening one with a name gives the reason, if that fails too
    _lock(fd)
    return fd


def _open_named(directory: int) -> tuple[str, int]:
    """Returns the name and a descriptor of a new file that is ours."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        name = _temporary_name()
        fd = os.open(name, flags, 0o644, dir_fd=directory)
        _lock(fd)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), os.stat(name, dir_fd=directory, follow_symlinks=False)):
                return name, fd
        os.close(fd)  # before it was locked, another writer took it for an abandoned one


def _temporary_name() -> str:
    return f".podwire-{os.urandom(8).hex()}.tmp"


def _lock(fd: int) -> bool:
    """Returns whether the file is locked by this descriptor from now on."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another one has it, or the file system has no locks
        return False
    return True


def _remove_abandoned(directory: int) -> None:
    """Removes the temporary files in ``directory`` of writers that were killed."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        names = [entry.name for entry in entries if _TEMPORARY.fullmatch(entry.name)]
        for name in names:
            with contextlib.suppress(OSError):
                _remove_if_abandoned(directory, name)


def _remove_if_abandoned(directory: int, name: str) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with _descriptor(os.open(name, flags, dir_fd=directory)) as fd:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode) and status.st_uid in _our_users() and _lock(fd):
            os.unlink(name, dir_fd=directory)


def _our_users() -> tuple[int, ...]:
    """Returns the users who own the files that we write."""
    caller = sudo_caller(os.environ) if os.geteuid() == 0 else None
    return (os.geteuid(), caller[0]) if caller else (os.geteuid(),)


def _write(file: io.FileIO, content: Content) -> None:
    for piece in (content,) if isinstance(content, bytes) else content:
        view = memoryview(piece)
        while view:
            view = view[file.write(view) or 0 :]


def sudo_caller(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Returns the user and group of sudo's caller; None without sudo, or if the variables name no possible
    user.
    """
    names = [environment.get(name, "") for name in ("SUDO_UID", "SUDO_GID")]
    if not all(re.fullmatch("[0-9]{1,10}", name) and int(name) < _NOBODY_AT_ALL for name in names):
        return None
    user, group = map(int, names)
    return user, group


def _give_to_user(fd: int) -> None:
    """Gives a new file to sudo's caller."""
    caller = sudo_caller(os.environ) if os.geteuid() == 0 else None
    if caller:
        # A user namespace may know no such user: then root keeps it, which is no reason to lose the evidence.
        with contextlib.suppress(OSError):
            os.fchown(fd, *caller)


def _remove(directory: int, name: str) -> None:
    """Removes ``name`` below ``directory`` and the directories that this empties; a missing file, or one that
    is no file any more, is left alone.
    """
    *parents, last = name.split("/")
    with contextlib.suppress(OSError), _descended(directory, parents, create=False) as parent:
        os.unlink(last, dir_fd=parent)
    for depth in range(len(parents), 0, -1):
        with (
            contextlib.suppress(OSError),
            _descended(directory, parents[: depth - 1], create=False) as parent,
        ):
            os.rmdir(parents[depth - 1], dir_fd=parent)


def _own_descriptor(path: Path) -> int | None:
    """Returns the descriptor of this process that ``path`` names (``/dev/stdout``, ``/dev/fd/3``), None if it
    is no such name.

    Whatever lies behind it is written through it: the name is a link in the machine's own directories, which
    must not be replaced, and a second opening of a file would overwrite the output of the first.
    """
    if str(path) in _STANDARD:
        return _STANDARD[str(path)]
    match = _DESCRIPTOR.fullmatch(str(path))
    return int(match[1]) if match else None


def _open_stream(path: Path) -> int:
    """Returns a descriptor of a pipe or a device; a file that has taken its name meanwhile is not written."""
    fd = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    return fd


def _is_stream(path: Path) -> bool:
    """Returns whether ``path`` is a pipe, a device or the like (``/dev/tty``), which must not be replaced."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


# --- what the previous run wrote --------------------------------------------------------------------------


class _Index(NamedTuple):
    """Holds which input a directory has evidence of ("": not known), and the names of the files."""

    source: str = ""
    files: tuple[str, ...] = ()


def _read_index(directory: int) -> _Index:
    """Returns what our ``index.json`` says; nothing if there is none, or it is not ours."""
    try:
        fd = os.open(INDEX, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return _Index()
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return _Index()
        try:
            index = json.load(file)
        except (ValueError, RecursionError):
            return _Index()
    if (
        not isinstance(index, dict)
        or index.get("schema") != _INDEX_SCHEMA
        or not isinstance(index.get("files"), list)
    ):
        return _Index()
    source = index.get("source")
    return _Index(
        source if isinstance(source, str) else "",
        tuple(name for name in index["files"] if isinstance(name, str) and _SAFE_NAME.fullmatch(name)),
    )


def _write_index(directory: int, names: Iterable[str], source: str) -> None:
    index = {"schema": _INDEX_SCHEMA, **({"source": source} if source else {}), "files": sorted(set(names))}
    _replace(directory, INDEX, (json.dumps(index, indent=2) + "\n").encode())
