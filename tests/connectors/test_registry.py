"""The table of subscriptions, beside a list that does the same slowly."""

from hypothesis import given
from hypothesis import strategies as st

from gobbler.connectors.registry import Registry
from gobbler.connectors.subscription import Device, Subscription
from gobbler.protocol.topic import covers

TOPICS = [b"/a", b"/a/b", b"/a/b/c", b"/ab", b"/b"]
chosen = st.tuples(st.sampled_from("tuv"), st.sampled_from("xy"), st.sampled_from(TOPICS), st.integers(0, 3))


def subscription(token: str, user: str, topic: bytes, from_id: int = 0) -> Subscription:
    return Subscription(Device(token, user), topic, from_id, 0.0)


@given(st.lists(chosen), st.data())
def test_it_finds_what_a_list_finds(facts: list[tuple[str, str, bytes, int]], data: st.DataObject) -> None:
    registry, kept = Registry(), list[Subscription]()
    for fact in facts:
        made = subscription(*fact)
        found = registry.find(made.device, made.topic)
        if found is None:
            registry.add(made)
            kept.append(made)
        elif data.draw(st.booleans()):
            registry.remove(found)
            kept.remove(found)
    check(registry, kept)


def check(registry: Registry, kept: list[Subscription]) -> None:
    assert len(registry) == len(kept)
    assert set(registry) == set(kept)
    for path in TOPICS:
        above = [one for one in kept if covers(one.topic, path)]
        assert set(registry.covering(path)) == set(above)
        assert registry.covered(path) == bool(above)
    for token in "tuvw":
        assert set(registry.of(None, token)) == {one for one in kept if one.device.token == token}
        for user in "xyz":
            device = Device(token, user)
            of_device = [one for one in kept if one.device == device]
            assert set(registry.of(user, token)) == set(registry.of_device(device)) == set(of_device)
            assert set(registry.of(user, None)) == {one for one in kept if one.device.user_id == user}
            for path in TOPICS:
                wanted = any(covers(one.topic, path) and one.from_id < 2 for one in of_device)
                assert registry.wants(device, path, 2) == wanted


def test_it_shows_how_many_there_are() -> None:
    registry = Registry()
    registry.add(subscription("t", "u", b"/a"))
    assert repr(registry) == "<Registry of 1>"
