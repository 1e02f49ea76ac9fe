"""``python -m emulator``: the same as the console script ``podwire``."""

import _signal  # type: ignore[import-not-found]  # built in; the module signal takes long to import

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    # Ctrl-C ends the imports without a traceback; main() takes over
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import sys

from emulator.cli import main

sys.exit(main())
