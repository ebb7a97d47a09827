"""Keeping a host as the manifests say: one level-triggered loop and what feeds it."""
