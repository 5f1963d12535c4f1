from typing import Any

import pytest

from gobbler.connectors.fcm.older import merged, to_v1
from gobbler.errors import InvalidMessage
from tests.connectors.fcm.deliveries import TIME


def test_v1_stays_as_it_is() -> None:
    v1 = {
        "notification": {"title": "T", "body": "B", "image": "https://x/y.png"},
        "data": {"a": "b"},
        "android": {"ttl": "5s"},
        "apns": {"payload": {"aps": {"badge": 1}}},
        "webpush": {"headers": {"TTL": "5"}},
        "fcm_options": {"analytics_label": "l"},
    }
    assert to_v1(v1, TIME) == v1


@pytest.mark.parametrize(("priority", "apns"), [("high", "10"), ("normal", "5"), ("HIGH", "10")])
def test_priority(priority: str, apns: str) -> None:
    assert to_v1({"notification": {"body": "B"}, "priority": priority}, TIME) == {
        "notification": {"body": "B"},
        "android": {"priority": priority.upper()},
        "apns": {"headers": {"apns-priority": apns}},
        "webpush": {"headers": {"Urgency": priority.lower()}},
    }


def test_what_shows_nothing_is_never_urgent_for_apple() -> None:
    silent = to_v1({"data": {"a": "b"}, "priority": "high", "content_available": True}, TIME)
    assert silent["apns"] == {
        "headers": {"apns-priority": "5"},
        "payload": {"aps": {"content-available": 1}},
    }
    assert silent["android"] == {"priority": "HIGH"}


@pytest.mark.parametrize("priority", ["urgent", 10, "", ["high"]])
def test_other_priorities_are_refused(priority: object) -> None:
    with pytest.raises(InvalidMessage, match="neither high nor normal"):
        to_v1({"data": {}, "priority": priority}, TIME)


@pytest.mark.parametrize(("ttl", "until"), [(60, TIME + 60), ("60", TIME + 60), (0, 0)])
def test_time_to_live(ttl: object, until: int) -> None:
    assert to_v1({"data": {}, "time_to_live": ttl}, TIME) == {
        "data": {},
        "android": {"ttl": f"{int(str(ttl))}s"},
        "apns": {"headers": {"apns-expiration": str(until)}},
        "webpush": {"headers": {"TTL": str(ttl)}},
    }


def test_a_time_to_live_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="time_to_live is not a number of seconds"):
        to_v1({"data": {}, "time_to_live": "for ever"}, TIME)


def test_collapse_key() -> None:
    mapped = to_v1({"data": {}, "collapse_key": "k" * 64}, TIME)
    assert mapped["android"] == {"collapse_key": "k" * 64}
    assert mapped["apns"] == {"headers": {"apns-collapse-id": "k" * 64}}


def test_a_collapse_key_too_long_for_apns() -> None:
    mapped = to_v1({"data": {}, "collapse_key": "ü" * 33}, TIME)
    assert mapped == {"data": {}, "android": {"collapse_key": "ü" * 33}}


def test_switches_for_apple() -> None:
    mapped = to_v1({"data": {}, "content_available": 1, "mutable_content": "true"}, TIME)
    assert mapped["apns"] == {"payload": {"aps": {"content-available": 1, "mutable-content": 1}}}
    assert to_v1({"data": {}, "content_available": False}, TIME) == {"data": {}}


def test_words_without_a_counterpart() -> None:
    assert to_v1({"data": {}, "dry_run": True, "delay_while_idle": True}, TIME) == {"data": {}}


def test_the_package() -> None:
    mapped = to_v1({"data": {}, "restricted_package_name": "com.example"}, TIME)
    assert mapped["android"] == {"restricted_package_name": "com.example"}


def test_what_a_notification_has_for_single_platforms() -> None:
    notification = {
        "title": "T",
        "body": "B",
        "icon": "i",
        "sound": "s",
        "badge": "3",
        "tag": "t",
        "color": "#ffffff",
        "click_action": "OPEN",
        "android_channel_id": "c",
    }
    assert to_v1({"notification": notification}, TIME) == {
        "notification": {"title": "T", "body": "B"},
        "android": {
            "notification": {
                "icon": "i",
                "sound": "s",
                "tag": "t",
                "color": "#ffffff",
                "click_action": "OPEN",
                "channel_id": "c",
            }
        },
        "apns": {"payload": {"aps": {"sound": "s", "badge": 3, "category": "OPEN"}}},
        "webpush": {"notification": {"icon": "i"}},
    }


def test_a_page_to_open() -> None:
    mapped = to_v1({"notification": {"click_action": "https://example.com/x"}}, TIME)
    assert mapped["webpush"] == {"fcm_options": {"link": "https://example.com/x"}}


@pytest.mark.parametrize("arguments", ['["1", "2"]', ["1", "2"]])
def test_localised_texts(arguments: object) -> None:
    notification = {
        "title": "T",
        "subtitle": "S",
        "body_loc_key": "b",
        "body_loc_args": arguments,
        "title_loc_key": "t",
        "title_loc_args": arguments,
    }
    mapped = to_v1({"notification": notification}, TIME)
    assert mapped["notification"] == {"title": "T"}
    assert mapped["android"]["notification"] == {
        "body_loc_key": "b",
        "body_loc_args": ["1", "2"],
        "title_loc_key": "t",
        "title_loc_args": ["1", "2"],
    }
    assert mapped["apns"]["payload"]["aps"]["alert"] == {
        "title": "T",
        "subtitle": "S",
        "loc-key": "b",
        "loc-args": ["1", "2"],
        "title-loc-key": "t",
        "title-loc-args": ["1", "2"],
    }


def test_arguments_that_are_no_list_are_left_for_fcm_to_refuse() -> None:
    mapped = to_v1({"notification": {"body_loc_args": "1, 2"}}, TIME)
    assert mapped["android"]["notification"] == {"body_loc_args": "1, 2"}


def test_v1s_own_parts_win() -> None:
    both: dict[str, Any] = {
        "data": {},
        "priority": "high",
        "time_to_live": 60,
        "android": {"priority": "NORMAL", "notification": {"icon": "own"}},
        "apns": {"headers": {"apns-expiration": "7"}, "payload": {"aps": {"badge": 1}}},
    }
    mapped = to_v1(both, TIME)
    assert mapped["android"] == {"priority": "NORMAL", "ttl": "60s", "notification": {"icon": "own"}}
    assert mapped["apns"] == {
        "headers": {"apns-priority": "5", "apns-expiration": "7"},
        "payload": {"aps": {"badge": 1}},
    }


@pytest.mark.parametrize("name", ["notification", "android", "apns", "webpush"])
def test_parts_are_objects(name: str) -> None:
    with pytest.raises(InvalidMessage, match=f"{name} is not an object"):
        to_v1({"data": {}, "priority": "high", name: [1]}, TIME)


def test_merging_goes_all_the_way_down() -> None:
    assert merged({"a": {"b": {"c": 1, "d": 2}}, "e": 3}, {"a": {"b": {"c": 4}}, "e": {"f": 5}}) == {
        "a": {"b": {"c": 4, "d": 2}},
        "e": {"f": 5},
    }
