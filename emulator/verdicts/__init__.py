"""Judges journeys against expectations, checks requirements and limits, compares modes."""
