"""Joins frames to journeys: tokens, hops in order, rewrites."""
