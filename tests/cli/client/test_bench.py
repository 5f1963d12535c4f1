"""`gobbler-cli bench`, against servers that do it right and one that is killed."""

import re

import pytest

from gobbler.cli.client.bench import text
from gobbler.cli.client.load import Plan, Report
from tests.cli.client.command import Cli
from tests.cli.client.terminal import Terminal
from tests.system.server import ServerProcess, eventually


def test_a_load_that_is_carried(cli: Cli, topic: str) -> None:
    load = ("--messages", "2000", "--publishers", "2", "--subscribers", "3", "--topic", f"{topic}/load/")
    lines = cli.ok("bench", *load).lines
    assert re.fullmatch(r"published  4,000 messages in \d+\.\d\d s: [\d,]+ a second", lines[0])
    assert re.fullmatch(r"delivered  12,000 messages in \d+\.\d\d s: [\d,]+ a second", lines[1])
    ms = r"\d+\.\d"
    assert re.fullmatch(
        rf"latency    in ms: 50 % {ms}, 90 % {ms}, 99 % {ms}, 99.9 % {ms}, most {ms}", lines[2]
    )
    assert lines[3:] == ["checked    nothing lost, repeated or out of order"]
    (listed,) = cli.ok("topics", topic, "--json").records
    assert listed["count"] == 4001, "and one that tells of the end"
    (stored,) = cli.ok("fetch", topic, "--from", "0", "--count", "1", "--json").records
    assert re.fullmatch(rf"{topic}/load/[0-9a-f]+", stored["path"])
    assert len(stored["body"]) == 100


def test_a_rate(cli: Cli) -> None:
    (report,) = cli.ok("bench", "--messages", "200", "--rate", "1000", "--size", "0", "--json").records
    assert (report["ok"], report["published"], report["delivered"]) == (True, 200, 200)
    assert report["publishedPerSecond"] <= 1010
    assert report["publishedIn"] >= 0.199
    latencies = report["latencyMilliseconds"]
    assert (
        0 < latencies["p50"] <= latencies["p90"] <= latencies["p99"] <= latencies["p99.9"] <= latencies["max"]
    )
    assert report["faults"] == {}


def test_publishing_alone(cli: Cli) -> None:
    lines = cli.ok("bench", "--messages", "100", "--subscribers", "0").lines
    assert [line.split()[0] for line in lines] == ["published", "checked"]
    assert lines[1] == "checked    everything answered"


def test_progress_for_somebody_who_looks(cli: Cli) -> None:
    with Terminal("bench", "--messages", "500", "--rate", "500", url=cli.url) as terminal:
        terminal.until(
            lambda lines: (
                bool(re.search(r"\d+ of 500 published, \d+ delivered", lines[-1])) if lines else False
            )
        )
        assert terminal.end() == 0
        assert [line.split()[0] for line in terminal.lines] == [
            "published",
            "delivered",
            "latency",
            "checked",
        ]


def test_a_server_that_dies(restartable: ServerProcess, topic: str) -> None:
    cli = Cli(restartable.port)
    load = ("--messages", "100000", "--rate", "1000", "--topic", topic)
    running = cli.start("bench", *load)
    deadline = eventually()
    while not restartable.json("/api/topics")["topics"]:
        deadline.again()
    restartable.kill()
    done = running.end()
    assert (done.status, done.err) == (1, "")
    assert re.fullmatch(r"checked    WRONG: 1 the connection is lost: .*", done.lines[-1])


def test_what_is_wrong_is_said() -> None:
    report = Report(published=3, published_in=2.0)
    report.faults.update({"lost": 2, "repeated": 1})
    plan = Plan("/x", publishers=1, subscribers=0, messages=3, size=0, rate=None, patience=1)
    assert text(plan, report) == [
        "published  3 messages in 2.00 s: 2 a second",
        "checked    WRONG: 2 lost, 1 repeated",
    ]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--messages", "0"), "Invalid value for '--messages': 0 is not between 1 and 1000000"),
        (("--publishers", "65"), "Invalid value for '--publishers': 65 is not between 1 and 64"),
        (("--rate", "0"), "Invalid value for '--rate': '0' is not a number above zero"),
    ],
)
def test_wrong_usage(cli: Cli, args: tuple[str, ...], text: str) -> None:
    assert cli("bench", *args) == (2, b"", f"gobbler-cli: {text} (see gobbler-cli bench --help)\n")


def test_nobody_at_the_other_end(unused_port: int) -> None:
    done = Cli(unused_port)("bench")
    assert (done.status, done.out) == (3, "")
    assert "is the server running?" in done.err
