"""The audience of a connector without subscriptions."""

from gobbler.connectors.audience import Everybody
from gobbler.connectors.subscription import Device
from gobbler.protocol.message import Message

SMS = Everybody("sms", b"/sms/out")


def message(path: bytes, id: int = 7) -> Message:
    return Message(path, id, b"", b"", b"", 0)


def test_each_message_is_its_own_device() -> None:
    assert list(SMS.reached(message(b"/sms/out/now"), {})) == [Device("", "7")]
    assert list(SMS.reached(message(b"/sms/outer"), {})) == []
    assert SMS.wants(Device("", "7"), message(b"/sms/out"))
    assert not SMS.wants(Device("", "7"), message(b"/sms/out", 8))


def test_filters_are_for_others_or_for_it() -> None:
    assert list(SMS.reached(message(b"/sms/out"), {"connector": "sms"})) == [Device("", "7")]
    assert list(SMS.reached(message(b"/sms/out"), {"connector": "fcm"})) == []
    assert list(SMS.reached(message(b"/sms/out"), {"user_id": "ford"})) == []


def test_it_stands_for_itself() -> None:
    SMS.load()
    assert (SMS.starts(), len(SMS)) == ({"sms": None}, 1)
    assert SMS.subscribers(b"/sms/out/now") == [{"connector": "sms"}]
    assert SMS.subscribers(b"/sms") == []
    assert SMS.describe() == {"/sms/out": [{"connector": "sms"}]}
    selector = SMS.selector("sms", Device("", "7"))
    assert selector is not None
    assert selector.paths == (b"/sms/out",)


def test_it_has_no_tokens() -> None:
    assert SMS.gone("", None, 0.0) == 0
    SMS.replace("", "new")
    assert SMS.covered(b"/sms/out")
