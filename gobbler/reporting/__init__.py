"""Reporting: what has happened, told to others."""
