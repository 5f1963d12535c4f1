"""What every test gets."""

import signal
from collections.abc import Generator, Iterator
from types import TracebackType

import hypothesis
import pytest
from gevent.hub import Hub

# The machine may be busy: an example may take as long as it likes, the test's timeout ends it.
# All else is as hypothesis chooses; where CI is set in the environment, the same examples every time.
hypothesis.settings.register_profile("gobbler", parent=hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("gobbler")


# A shell has what it runs in the background ignore Ctrl-C, and every process of a test would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what no worker of pytest-xdist can send: half a surrogate pair in what a test has logged."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True)
def greenlet_errors() -> Iterator[list[BaseException]]:
    """Fail a test in which a greenlet dies of an error, as pytest does for threads.

    gevent only prints such errors. A test that wants one takes it out of the list.
    """
    errors: list[BaseException] = []
    show = Hub.print_exception

    def record(
        hub: Hub, context: object, kind: type[BaseException], value: BaseException, where: TracebackType
    ) -> None:
        errors.append(value)
        show(hub, context, kind, value, where)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Hub, "print_exception", record)
        yield errors
    assert errors == []
