"""What can go wrong in a benchmark, apart from a low figure."""


class BenchError(Exception):
    """A tool is missing, a server did not start, or a run could not be finished."""


class CheckFailed(BenchError):
    """A run ended, but a message was lost, repeated, misplaced, damaged or refused."""
