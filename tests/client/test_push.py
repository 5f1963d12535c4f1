"""Push subscriptions against a real server."""

from collections.abc import Iterator

import pytest

from gobbler.client import BadAnswer, BadRequest, InvalidTopic, Push, Refused, Rest
from tests.client.test_rest import FCM
from tests.system.server import ServerProcess


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    with ServerProcess(tmp_path_factory.mktemp("push") / "data", *FCM) as server:
        made = Rest(f"http://127.0.0.1:{server.port}")
        yield made
        made.close()


@pytest.fixture
def push(rest: Rest) -> Push:
    return rest.push("fcm")


def test_a_device_is_subscribed_once(push: Push, rest: Rest) -> None:
    assert push.subscribe("token:1", "marvin", "/once/ü")
    assert not push.subscribe("token:1", "marvin", "/once/ü")
    assert push.topics(device_token="token:1") == ["/once/ü"]
    params = {"connector": "fcm", "device_token": "token:1", "user_id": "marvin"}
    assert params in rest.subscribers("/once/ü/below")
    assert push.unsubscribe("token:1", "marvin", "/once/ü")
    assert not push.unsubscribe("token:1", "marvin", "/once/ü")
    assert push.topics(device_token="token:1") == []


def test_topics_of_a_user_and_of_a_device(push: Push) -> None:
    push.subscribe("token2", "ford", "/a")
    push.subscribe("token3", "ford", "/b")
    assert sorted(push.topics(user_id="ford")) == ["/a", "/b"]
    assert push.topics(user_id="ford", device_token="token3") == ["/b"]
    assert push.topics(user_id="nobody") == []


def test_a_value_is_substituted_everywhere(push: Push) -> None:
    for topic in ("/x", "/y"):
        push.subscribe("old-token", "arthur", topic)
    assert push.substitute("device_token", "old-token", "new-token") == 2
    assert push.substitute("device_token", "old-token", "new-token") == 0
    assert sorted(push.topics(device_token="new-token")) == ["/x", "/y"]


def test_what_is_not_allowed(push: Push) -> None:
    with pytest.raises(InvalidTopic):
        push.subscribe("token", "marvin", "topic")
    with pytest.raises(BadRequest, match="user id"):
        push.subscribe("token", "mar,vin", "/topic")
    with pytest.raises(BadRequest, match="Missing filters"):
        push.topics()


def test_a_connector_that_is_not_there(rest: Rest) -> None:
    with pytest.raises(Refused) as refused:
        rest.push("pigeon").unsubscribe("token", "marvin", "/a")
    assert refused.value.status == 404


def test_an_answer_that_says_nothing() -> None:
    with pytest.raises(BadAnswer):
        Push(lambda *args, **kwargs: {}, "fcm").substitute("user_id", "a", "b")
