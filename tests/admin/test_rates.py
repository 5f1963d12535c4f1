"""The ring of samples."""

import gevent

from gobbler.admin.rates import SAMPLES, Rates


class Counter:
    value = 0.0

    def __call__(self) -> float:
        self.value += 10
        return self.value


def test_samples_are_numbered_and_have_the_counters_as_they_were() -> None:
    times = iter([1.00049, 2.5, 3.0])
    rates = Rates({"a": Counter(), "b": lambda: 7}, lambda: next(times))
    assert (rates.fields, rates.after(0)) == (("number", "time", "a", "b"), [])
    for _ in range(3):
        rates.sample()
    assert rates.after(0) == [(1, 1.0, 10, 7), (2, 2.5, 20, 7), (3, 3.0, 30, 7)]
    assert rates.after(2) == [(3, 3.0, 30, 7)]
    assert rates.after(3) == []
    assert repr(rates) == "<Rates, 3 samples>"


def test_only_the_last_ones_are_kept() -> None:
    rates = Rates({}, lambda: 0)
    for _ in range(SAMPLES + 5):
        rates.sample()
    found = rates.after(0)
    assert [found[0][0], found[-1][0], len(found)] == [6, SAMPLES + 5, SAMPLES]


def test_who_asks_behind_what_never_was_gets_all() -> None:
    rates = Rates({}, lambda: 0)
    rates.sample()
    assert rates.after(1000) == rates.after(0) == [(1, 0)]


def test_it_samples_each_second_and_begins_anew_after_a_stop() -> None:
    rates = Rates({"a": Counter()}, lambda: 0)
    rates.start()
    first = rates.server
    assert len(rates.after(0)) == 1, "a page that is opened at once has something to begin from"
    with gevent.Timeout(10):
        while len(rates.after(0)) < 2:
            gevent.sleep(0.01)
    rates.stop(1)
    rates.stop(1)
    rates.start()
    assert [sample[0] for sample in rates.after(0)] == [1]
    assert rates.server != first
    rates.stop(1)
