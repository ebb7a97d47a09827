"""Flows of driver contiv, loaded where there are such networks."""
