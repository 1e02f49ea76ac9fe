"""Chooses the flows to send: derived from the objects, where modes differ, FlowChecks; each with its
controls.
"""
