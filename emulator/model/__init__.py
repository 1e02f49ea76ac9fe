"""Defines the values of a run, in the order of a flow's life.

``flows`` (what to send) and ``expectations`` (what Kubernetes promises) → ``frames`` (what a tap saw) →
``journeys`` (the frames of one attempt in order) → ``results`` (observation, verdict, report). Pure values.
"""
