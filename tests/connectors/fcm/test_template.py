import json
from dataclasses import replace

import pytest

from gobbler.connectors.fcm.payload import Facts
from gobbler.connectors.fcm.template import CACHED, CACHED_BODY, Template, Templates
from gobbler.errors import InvalidMessage
from tests.connectors.fcm.deliveries import TIME, message


class Maker:
    """Makes templates and counts them."""

    def __init__(self) -> None:
        self.made: list[tuple[bytes, int]] = []

    def __call__(self, body: bytes, time: int) -> Template:
        self.made.append((body, time))
        if body == b"bad":
            raise InvalidMessage("no")
        return Template(b'{"to":', b',"x":1}', Facts(body=body.decode()))


def test_the_token_is_put_in() -> None:
    templates = Templates(Maker())
    for token in ('quo"te', "back\\slash", "ü\n", "plain"):
        assert json.loads(templates.request(message(), token)) == {"to": token, "x": 1}


def test_a_message_is_read_once() -> None:
    maker = Maker()
    templates = Templates(maker)
    for token in ("a", "b", "c"):
        templates.request(message(), token)
    assert templates.facts(message()) == Facts(body="hello")
    assert maker.made == [(b"hello", TIME)]


def test_the_time_of_publishing_makes_another() -> None:
    maker = Maker()
    templates = Templates(maker)
    templates.request(message(), "a")
    templates.request(replace(message(), time=TIME + 1), "a")
    assert maker.made == [(b"hello", TIME), (b"hello", TIME + 1)]


def test_few_are_kept_and_large_ones_are_not() -> None:
    maker = Maker()
    templates = Templates(maker)
    for body in [*(b"%d" % n for n in range(CACHED + 1)), b"0"]:
        templates.request(message(body), "a")
    assert len(maker.made) == CACHED + 2
    large = message(b"x" * (CACHED_BODY + 1))
    templates.request(large, "a")
    templates.request(large, "b")
    assert len(maker.made) == CACHED + 4


def test_what_cannot_be_sent_has_no_facts() -> None:
    templates = Templates(Maker())
    with pytest.raises(InvalidMessage):
        templates.request(message(b"bad"), "a")
    assert templates.facts(message(b"bad")) == Facts()
