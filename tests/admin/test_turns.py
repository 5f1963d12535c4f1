"""Others have their turn."""

import gevent

from gobbler.admin.turns import in_turns


def test_others_run_after_each_turn_and_nothing_is_left_out() -> None:
    seen: list[int] = []
    other: list[int] = []

    def run() -> None:
        while len(seen) < 10:
            other.append(len(seen))
            gevent.sleep(0)

    greenlet = gevent.spawn(run)
    for number in in_turns(range(10), 4):
        seen.append(number)
    greenlet.join()
    assert seen == list(range(10))
    assert other == [4, 8]
