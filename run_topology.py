#!/usr/bin/env python3
"""Build a topology's network, send its flows, print the verdicts: ``sudo scripts/with-env python run_topology.py [TARGET…]``."""

import sys

from emulator.signals import end_at_once

if __name__ == "__main__":
    end_at_once()  # the import below takes a while
    from emulator.cli import main

    sys.exit(main())
