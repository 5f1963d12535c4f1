"""The tables and the document say what was measured."""

import json

import pytest

from bench import report
from bench.runner import Outcome
from bench.shapes import Figure, Rest

SHAPE = Rest("rest", "POST", (), 32, 5)
MACHINE = {"cpu": "a processor", "cores": "2"}
OUTCOMES = [
    Outcome(
        SHAPE,
        Figure("delivered", "messages/s", least_ratio=1.4),
        (310_400.0, 300_000.0, 330_000.0),
        (200_000.0,),
    ),
    Outcome(SHAPE, Figure("memory", "MiB", most=60), (61.25,), ()),
]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.1234, "0.123"),
        (1.6449, "1.64"),
        (21.34, "21.3"),
        (99.96, "100"),
        (456.7, "457"),
        (1234.5, "1,230"),
        (2_345_678.0, "2,350,000"),
    ],
)
def test_numbers_have_three_digits_that_matter(value: float, shown: str) -> None:
    assert report.number(value) == shown


def test_rows_show_medians_ratio_and_target() -> None:
    assert report.rows(OUTCOMES) == [
        ("POST", "delivered, messages/s", "310,000", "200,000", "1.55", ">= 1.4 x peer: met"),
        ("POST", "memory, MiB", "61.2", "", "", "<= 60 MiB: MISSED"),
    ]


def test_text_is_aligned() -> None:
    heading, first, second = report.text(OUTCOMES).splitlines()
    assert heading.index("target") == first.index(">= 1.4") == second.index("<= 60")
    assert first.index("310,000") + len("310,000") == second.index("61.2") + len("61.2")


def test_markdown_names_the_machine() -> None:
    lines = report.markdown(OUTCOMES, MACHINE).splitlines()
    assert lines[0] == "| shape | figure | gobbler | peer | ratio | target |"
    assert lines[3] == "| POST | memory, MiB | 61.2 |  |  | <= 60 MiB: MISSED |"
    assert lines[-1] == "cpu: a processor, cores: 2"


def test_the_document_keeps_every_run() -> None:
    document = json.loads(json.dumps(report.document(OUTCOMES, MACHINE, 3)))
    first, second = document["figures"]
    assert first["gobbler"] == {"median": 310_400, "runs": [310_400, 300_000, 330_000]}
    assert (first["ratio"], first["met"]) == (pytest.approx(1.552), True)
    assert (second["peer"], second["ratio"], second["met"]) == (None, None, False)
    assert (document["machine"], document["runs"]) == (MACHINE, 3)
