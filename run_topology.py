#!/usr/bin/env python3
"""Build a topology's network, send its flows, print the verdicts: ``sudo scripts/with-env python
run_topology.py [TARGET…]``.
"""

if __name__ == "__main__":
    import _signal  # type: ignore[import-not-found]  # built in; the module signal takes long to import

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        # Ctrl-C ends the imports without a traceback; main() takes over
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

    import sys

    from emulator.cli import main

    sys.exit(main())
