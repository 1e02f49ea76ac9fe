"""Holds programs of client libraries, which tests/kernel/test_clients.py runs at ``podwire up``."""
