"""The little memory: what is taken is gone, and what is too much goes, the oldest first."""

from uuid import uuid4

from gobbler.connectors.sms.recent import Recent


def test_a_fact_is_taken_once() -> None:
    recent: Recent[str] = Recent(2)
    id = uuid4()
    recent.put(id, "fact")
    assert (recent.take(id), recent.take(id), len(recent)) == ("fact", None, 0)


def test_the_oldest_goes() -> None:
    recent: Recent[int] = Recent(2)
    a, b, c = uuid4(), uuid4(), uuid4()
    for number, id in enumerate((a, b, a, c)):
        recent.put(id, number)
    assert [recent.take(id) for id in (a, b, c)] == [2, None, 3]
