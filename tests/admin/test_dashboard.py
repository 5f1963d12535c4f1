"""The page, its files, and the JSON of a whole server."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from flask.testing import FlaskClient

from gobbler.admin import dashboard
from gobbler.config import load
from gobbler.server import Server
from tests.websocket.rig import DEADLINE

FOLDER = Path(dashboard.__file__).parents[1] / "web" / "admin"
PAGES = ("status", "rates", "health", "options", "sessions", "subscriptions", "connectors", "storage")
SMS = {"sms": "on", "sms_api_key": "a-key-of-mine", "sms_api_secret": "a-secret-of-mine"}
SECRETS = (*SMS.values(), "a-password-of-mine")[1:]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    options = {"ms": "memory", "kvs": "memory", "pg_password": SECRETS[-1]}
    made = Server(load(options | SMS, {}), listen=False)
    made.start()
    yield made
    made.stop(5)


@pytest.fixture
def http(server: Server) -> FlaskClient:
    return server.app.flask.test_client()


@pytest.mark.parametrize("path", ["/admin/", "/admin"])
def test_the_page(http: FlaskClient, path: str) -> None:
    answer = http.get(path)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_names_only_files_that_there_are(http: FlaskClient) -> None:
    names = re.findall(r'(?:src|href)="(/[^"]*)"', http.get("/admin/").text)
    assert len(names) >= 4
    texts = [http.get(name).text for name in names]
    for text in texts:
        names += [f"/admin/files/{name}" for name in re.findall(r'from "\./([^"]+)"', text)]
    assert {name: http.get(name).status_code for name in names if http.get(name).status_code != 200} == {}
    known = {f"/admin/files/{path.name}" for path in FOLDER.glob("*.*")} - {"/admin/files/index.html"}
    imported = {
        f"/admin/files/{name}"
        for path in FOLDER.glob("*.js")
        for name in re.findall(r'from "\./([^"]+)"', path.read_text(encoding="utf-8"))
    }
    assert known == {*names, *imported}, "a file that nobody asks for"


def test_nothing_comes_from_elsewhere_and_nothing_is_inserted_as_markup() -> None:
    elsewhere = re.compile(r"https?://(?!www\.w3\.org/2000/svg)")
    markup = re.compile(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(| style=")
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not elsewhere.search(text), path
        assert not markup.search(text), path


@pytest.mark.parametrize(
    ("name", "kind"),
    [("dashboard.js", "text/javascript"), ("dashboard.css", "text/css"), ("icon.svg", "image/svg+xml")],
)
def test_the_files(http: FlaskClient, name: str, kind: str) -> None:
    answer = http.get(f"/admin/files/{name}")
    assert (answer.status_code, answer.mimetype, answer.data) == (200, kind, (FOLDER / name).read_bytes())
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    answer.close()


@pytest.mark.parametrize("name", ["index.html", "../index.html", "%2e%2e/client/gobbler.js", "x.js", ""])
def test_other_files_are_not_served(http: FlaskClient, name: str) -> None:
    assert http.get(f"/admin/files/{name}").status_code == 404


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_json_without_a_secret(http: FlaskClient, name: str) -> None:
    answer = http.get(f"/admin/api/{name}")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert isinstance(answer.json, dict)
    assert not [secret for secret in SECRETS if secret in answer.text]
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_what_is_published_is_sampled_and_shown(server: Server, http: FlaskClient) -> None:
    before = http.get("/admin/api/rates").json
    assert before is not None
    assert before["fields"] == [
        "number",
        "time",
        "received",
        "receivedBytes",
        "delivered",
        "deliveredBytes",
        "replayed",
        "sessions",
        "processorSeconds",
        "memoryBytes",
        "pushed",
        "pushesFailed",
    ]
    stored = http.post("/admin/api/messages", json={"topic": "/shown", "body": "12345"}).json
    assert stored is not None
    server.dashboard.rates.sample()
    rates = http.get(f"/admin/api/rates?after={before['samples'][-1][0]}").json
    assert rates is not None
    last, first = rates["samples"][-1], before["samples"][-1]
    assert (last[2] - first[2], last[3] - first[3]) == (1, 6)
    page = http.get("/admin/api/messages?topic=/shown").json
    assert page is not None
    assert page["messages"][-1]["id"] == stored["id"]


def test_a_sample_costs_next_to_nothing(server: Server) -> None:
    begun = time.process_time()
    for _ in range(100):
        server.dashboard.rates.sample()
    assert time.process_time() - begun < 0.5, "of a second that has a thousand milliseconds, five at most"


def test_samples_are_taken_by_themselves(server: Server) -> None:
    rates = server.dashboard.rates
    last = rates.after(0)[-1][0]
    with gevent.Timeout(DEADLINE):
        while rates.after(0)[-1][0] == last:
            gevent.sleep(0.01)


def test_without_websockets_there_are_no_sessions() -> None:
    made = Server(load({"ms": "memory", "kvs": "memory", "ws": "off"}, {}), listen=False)
    made.dashboard.rates.sample()
    http = made.app.flask.test_client()
    assert http.get("/admin/api/sessions").json == {"total": 0, "matching": 0, "slow": 0, "sessions": []}
    (sample,) = made.dashboard.rates.after(0)
    assert (made.dashboard.rates.fields[7], sample[7]) == ("sessions", 0)
    assert "pushed" not in made.dashboard.rates.fields
    assert repr(made.dashboard) == "<Dashboard <Rates, 1 samples>>"


def test_switches_go_with_their_endpoint() -> None:
    made = Server(load({"ms": "memory", "kvs": "memory", "toggles_endpoint": ""} | SMS, {}), listen=False)
    http = made.app.flask.test_client()
    answer = http.get("/admin/api/connectors").json
    assert answer is not None
    assert answer["toggles"] is False
    assert http.post("/admin/api/connectors/sms", json={"on": False}).status_code == 404
