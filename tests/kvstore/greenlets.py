"""Greenlets that use a store."""

from collections.abc import Callable

import gevent

from gobbler.errors import KVError


def spawn_and_settle(*calls: Callable[[], object]) -> "list[gevent.Greenlet[[], object]]":
    """Run each call in a greenlet and return when all of them wait for something."""
    greenlets = [gevent.spawn(call) for call in calls]
    gevent.sleep(0)
    return greenlets


def outcome(call: Callable[[], object]) -> Callable[[], object]:
    """The call, but it returns a KVError that it raises: gevent prints what a greenlet dies of."""

    def run() -> object:
        try:
            return call()
        except KVError as error:
            return error

    return run
