#!/usr/bin/env python3
"""Build a topology's network, send its flows, print the verdicts: ``sudo scripts/with-env python
run_topology.py [TARGET…]``.
"""

if __name__ == "__main__":
    from emulator import starting

    starting.prepare()

    import sys

    from emulator.cli import main

    sys.exit(main())
