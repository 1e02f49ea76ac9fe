"""Sets the sysctls of a namespace."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from ...errors import KernelError
from ...plan.operations.sysctls import ResetDevices, SetSysctl
from ...plan.shell import shell_commands
from ..applied import Applied
from .registry import handles


@handles(SetSysctl)
def set_sysctls(ops: Sequence[SetSysctl], kernel: Applied) -> None:
    for op in ops:
        kernel.namespaces.enter(op.netns)
        try:
            kernel.sysctls.write("/proc/sys/" + op.key.replace(".", "/"), op.value)
        except OSError as error:
            if not (op.optional and error.errno == errno.ENOENT):
                what = f"{op.key}: {error.strerror}"
                raise KernelError(op.netns, shell_commands(op), what) from None


@handles(ResetDevices)
def reset(ops: Sequence[ResetDevices], kernel: Applied) -> None:
    for op in ops:
        kernel.namespaces.enter(op.netns)
        for path, value in kernel.defaults.unlike():
            try:
                kernel.sysctls.write(path, value)
            except OSError as error:
                raise KernelError("", shell_commands(op), f"{path}: {error.strerror}") from None
