"""Who may change something through the dashboard's JSON, and what everything there says to browsers."""

import pytest
from flask import Response, jsonify

from gobbler.admin import api
from gobbler.errors import BadRequest, InvalidTopic
from tests.admin.asking import Asker


@pytest.fixture
def asker() -> Asker:
    pages = api.blueprint("test")

    @pages.post("/echo")
    def echo() -> Response:
        return jsonify(api.posted(50))

    return Asker(pages)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost"},
        {"Origin": "HTTPS://LocalHost"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://behind-a-proxy.example"},
    ],
)
def test_the_page_itself_and_programs_may(asker: Asker, headers: dict[str, str]) -> None:
    assert asker.post("/echo", {"a": 1}, headers) == (200, {"a": 1})


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.example"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "http://localhost.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    ],
)
def test_pages_of_other_sites_may_not(asker: Asker, headers: dict[str, str]) -> None:
    assert asker.post("/echo", {}, headers) == (403, {"error": "only the dashboard's own page may do this"})


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", ""],
)
def test_what_a_form_can_send_is_refused(asker: Asker, kind: str) -> None:
    status, answer = asker.post("/echo", b"{}", {"Content-Type": kind})
    assert (status, answer["error"]) == (415, "the body must be application/json")


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "the body is not valid JSON"),
        (b"{", 400, "the body is not valid JSON"),
        (b"\xff", 400, "the body is not valid JSON"),
        (b"[]", 400, "the body is not a JSON object"),
        (b"1", 400, "the body is not a JSON object"),
        (b'{"a":"%b"}' % (b"x" * 50), 413, "message is larger than 50 bytes"),
    ],
)
def test_what_is_no_small_object_is_refused(asker: Asker, body: bytes, status: int, text: str) -> None:
    assert asker.post("/echo", body) == (status, {"error": text})


def test_what_is_nested_too_deeply_is_refused() -> None:
    pages = api.blueprint("deep")

    @pages.post("/echo")
    def echo() -> Response:
        return jsonify(api.posted(1 << 20))

    status, answer = Asker(pages).post("/echo", b"[" * 200_000)
    assert (status, answer["error"]) == (400, "the body is not valid JSON")


def test_every_answer_is_for_the_dashboard_alone(asker: Asker) -> None:
    for answer in (
        asker.http.post("/admin/api/echo", json={}),
        asker.http.post("/admin/api/echo", json=[]),
    ):
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_members_are_texts() -> None:
    assert api.text({"a": "ü"}, "a") == "ü".encode()
    assert api.text({}, "a") == b""
    with pytest.raises(BadRequest, match=r"^a is not a text$"):
        api.text({"a": 1}, "a")
    with pytest.raises(BadRequest, match=r"^a is not valid Unicode$"):
        api.text({"a": "\ud800"}, "a")


def test_a_topic_is_there_and_canonical() -> None:
    assert api.topic({"topic": "/foo/"}) == b"/foo"
    with pytest.raises(BadRequest, match=r"^topic is missing$"):
        api.topic({})
    with pytest.raises(InvalidTopic, match=r"^topic must begin with '/'$"):
        api.topic({"topic": "foo"})
