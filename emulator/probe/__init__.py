"""Flows, taps, crafted packets, correlation, expectations and verdicts."""
