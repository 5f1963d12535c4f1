"""The reporter of what nobody wants."""

from gobbler.reporting.base import Nobody, Reporter
from gobbler.reporting.events import Event


def test_nobody_takes_everything() -> None:
    reporter: Reporter = Nobody()
    reporter.report(Event("x", {}))
