"""Fuzzing of everything that decodes bytes from outside: `python -m tests.fuzz --seconds 60`."""
