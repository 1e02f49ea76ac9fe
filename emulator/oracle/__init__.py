"""Expects of a flow what the objects promise, from the published semantics. It never looks at rules."""
