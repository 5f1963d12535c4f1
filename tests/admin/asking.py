"""Asking pages of the dashboard that are served in this process."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint
from flask.testing import FlaskClient

from gobbler.app import App
from gobbler.metrics import Metrics

Json = Any
PREFIX = "/admin/api"


class Asker:
    """Requests to some pages below `/admin/api`."""

    def __init__(self, *pages: Blueprint, metrics: Metrics | None = None) -> None:
        app = App(pages, metrics or Metrics("test"), None, "/stream/")
        self.http: FlaskClient = app.flask.test_client()

    def get(self, path: str, **parameters: object) -> Json:
        """Return the JSON of a page, which must be there."""
        answer = self.http.get(PREFIX + path, query_string={k: str(v) for k, v in parameters.items()})
        assert answer.status_code == 200, answer.text
        return answer.json

    def refusal(self, path: str, **parameters: object) -> tuple[int, str]:
        """Return status and reason of a page that does not give what is asked for."""
        query = {k: str(v) for k, v in parameters.items()}
        answer = self.http.get(PREFIX + path, query_string=query, headers={"Accept": "application/json"})
        assert answer.json is not None
        return answer.status_code, answer.json["error"]

    def post(self, path: str, asked: Json, headers: Mapping[str, str] | None = None) -> tuple[int, Json]:
        """Send JSON, or bytes that are meant to be; return status and answer."""
        body = {"data": asked} if isinstance(asked, bytes) else {"json": asked}
        sent = {"Accept": "application/json", "Content-Type": "application/json"} | dict(headers or {})
        answer = self.http.post(PREFIX + path, headers=sent, **body)
        return answer.status_code, answer.json
