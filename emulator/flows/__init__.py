"""Chooses the flows to send: derived from the objects, edges of the modes, FlowChecks; each with its
controls.
"""
