"""Gobbler: a user-facing message bus on a commit log."""
