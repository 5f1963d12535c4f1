"""The load driver against real servers, and against fake ones that do wrong what it must notice."""

import json
import subprocess
from pathlib import Path

import pytest

from bench import driver
from bench.errors import BenchError, CheckFailed
from bench.servers import Gobbler, Nats, Server
from tests.bench.fake import FakeServer

MESSAGES = 100
FAULT_AT = 50  # the message that a misbehaving server treats wrongly; there are others before and after it
PATIENCE = 2.0  # seconds that the driver waits for what does not come


class Losing(FakeServer):
    def deliveries(self, number: int, frame: bytes) -> list[bytes]:
        return [] if number == FAULT_AT else [frame]


class Repeating(FakeServer):
    def deliveries(self, number: int, frame: bytes) -> list[bytes]:
        return [frame, frame] if number == FAULT_AT else [frame]


class Swapping(FakeServer):
    held = b""

    def deliveries(self, number: int, frame: bytes) -> list[bytes]:
        if number == FAULT_AT:
            self.held = frame
            return []
        return [frame, self.held] if number == FAULT_AT + 1 else [frame]


class Damaging(FakeServer):
    def deliveries(self, number: int, frame: bytes) -> list[bytes]:
        return [frame[:-1] + b"?"] if number == FAULT_AT else [frame]


class Truncating(FakeServer):
    def deliveries(self, number: int, frame: bytes) -> list[bytes]:
        return [frame[:-1]] if number == FAULT_AT else [frame]


class Misdirecting(FakeServer):
    def deliveries(self, number: int, frame: bytes) -> list[bytes]:
        return [b"/elsewhere" + frame[frame.index(b",") :]] if number == FAULT_AT else [frame]


class Unanswering(FakeServer):
    def answers(self, path: str, number: int, name: str) -> list[str]:
        return [] if number == FAULT_AT else super().answers(path, number, name)


class Refusing(FakeServer):
    def answers(self, path: str, number: int, name: str) -> list[str]:
        return ["!error-send  disk full\n{}"] if number == FAULT_AT else super().answers(path, number, name)


class Stuttering(FakeServer):
    def answers(self, path: str, number: int, name: str) -> list[str]:
        return super().answers(path, min(number, FAULT_AT), name)


class Misnaming(FakeServer):
    def answers(self, path: str, number: int, name: str) -> list[str]:
        return super().answers(path, number, "7" if number == FAULT_AT else name)


class Dropping(FakeServer):
    def deliveries(self, number: int, frame: bytes) -> list[bytes]:
        if number == FAULT_AT:
            for connections in self.subscribers.values():
                connections.pop().close()
        return [frame]


class Collecting(FakeServer):
    """Delivers nothing before everything is published."""

    def deliveries(self, number: int, frame: bytes) -> list[bytes]:
        return [stored for frames in self.stored.values() for stored in frames] if number == MESSAGES else []


class Forgetting(FakeServer):
    def replay(self, path: str) -> list[bytes | str]:
        return [reply for i, reply in enumerate(super().replay(path)) if i != FAULT_AT]


class Miscounting(FakeServer):
    def replay(self, path: str) -> list[bytes | str]:
        return [f"#fetch-start {path} 1", *super().replay(path)[1:]]


class Endless(FakeServer):
    def replay(self, path: str) -> list[bytes | str]:
        return super().replay(path)[:-1]


def failed_run(mode: str, server: FakeServer, **options: driver.Option) -> driver.Result:
    """Run the driver, expecting exit status 1; returns what it has counted."""
    arguments = driver.command(mode, "gobbler", server.port, messages=MESSAGES, patience=PATIENCE, **options)
    finished = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)
    assert finished.returncode == 1, finished
    result: driver.Result = json.loads(finished.stdout)
    return result


def test_it_compiles_without_a_warning(tmp_path: Path) -> None:
    binary = driver.build(tmp_path / "driver", (*driver.FLAGS, "-Werror"))
    usage = subprocess.run([binary], capture_output=True, text=True, check=False)
    assert usage.returncode == 2
    assert usage.stderr.startswith("usage:")


def test_an_up_to_date_binary_is_kept(tmp_path: Path) -> None:
    binary = tmp_path / "driver"
    binary.write_text("newer than its source")
    assert driver.build(binary).read_text() == "newer than its source"


def test_a_compiler_error_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="does not compile"):
        driver.build(tmp_path / "driver", ("-DSECOND=",))


@pytest.mark.parametrize("kind", [Gobbler, Nats])
def test_a_real_server_passes_all_checks(kind: type[Server]) -> None:
    load = {"messages": 2000, "publishers": 2, "topics": 2}
    with kind() as server:
        live = driver.run("e2e", server.name, server.port, subscribers=4, window=100, ids=1, **load)
        replayed = driver.run("fetch", server.name, server.port, messages=2000)
        with driver.idle_connections(server.name, server.port, 20, topic="idle"):
            assert server.resident_bytes() > 2**20
    assert (live["acked"], live["delivered"], live["missing"]) == (4000, 8000, 0)
    assert live["published_per_s"] == pytest.approx(4000 / live["seconds"], rel=1e-3)
    assert (replayed["delivered"], replayed["missing"]) == (2000, 0)


@pytest.mark.parametrize("body", [44, 126, 70_000])
def test_bodies_of_every_frame_length_arrive_whole(body: int) -> None:
    with FakeServer() as server:
        result = driver.run("e2e", "gobbler", server.port, messages=MESSAGES, body=body)
        replayed = driver.run("fetch", "gobbler", server.port, messages=MESSAGES, body=body)
    assert (result["acked"], result["delivered"], replayed["delivered"]) == (MESSAGES, MESSAGES, MESSAGES)


@pytest.mark.parametrize(
    ("kind", "counted"),
    [
        (Losing, "missing"),
        (Repeating, "repeated"),
        (Swapping, "misordered"),
        (Damaging, "corrupt"),
        (Truncating, "corrupt"),
        (Misdirecting, "corrupt"),
        (Unanswering, "unanswered"),
        (Refusing, "errors"),
        (Dropping, "closed"),
    ],
)
def test_one_fault_is_counted_and_fails_the_run(kind: type[FakeServer], counted: str) -> None:
    with kind() as server:
        result = failed_run("e2e", server)
    assert dict(result)[counted] == 1


def test_answers_whose_ids_do_not_grow_fail_the_run() -> None:
    with Stuttering() as server:
        assert failed_run("e2e", server)["misordered"] == MESSAGES - FAULT_AT


def test_answers_carry_the_ids_of_their_sends_in_order() -> None:
    with FakeServer() as honest:
        assert driver.run("e2e", "gobbler", honest.port, messages=MESSAGES, ids=1)["acked"] == MESSAGES
    with Misnaming() as server:
        assert failed_run("e2e", server, ids=1)["misordered"] == 1


@pytest.mark.parametrize(
    ("kind", "counted"), [(Forgetting, "missing"), (Miscounting, "errors"), (Endless, "errors")]
)
def test_a_wrong_replay_fails_the_run(kind: type[FakeServer], counted: str) -> None:
    with kind() as server:
        driver.run("e2e", "gobbler", server.port, messages=MESSAGES, subscribers=0)
        assert dict(failed_run("fetch", server))[counted] == 1


def test_latency_counts_from_the_time_a_message_was_due() -> None:
    with Collecting() as server:
        result = driver.run("e2e", "gobbler", server.port, messages=MESSAGES, rate=1000)
    latency = result["latency_us"]
    publishing = (MESSAGES - 1) * 1000.0  # microseconds from the first message to the last
    assert publishing <= latency["max"] <= result["seconds"] * 1e6 + 1  # both are rounded
    assert publishing / 2 <= latency["p50"] <= latency["p99"] <= latency["p999"] <= latency["max"]


def test_idle_connections_are_open_and_subscribed_until_the_end_of_the_block() -> None:
    with FakeServer() as server, driver.idle_connections("gobbler", server.port, 20):
        assert [len(subscribed) for subscribed in server.subscribers.values()] == [20]


def test_an_idle_connection_that_is_closed_fails_the_check() -> None:
    closed = pytest.raises(CheckFailed, match="stayed open")
    with FakeServer() as server, closed, driver.idle_connections("gobbler", server.port, 20):
        next(iter(server.subscribers.values()))[7].close()


def test_no_server_is_an_error() -> None:
    with FakeServer() as server:
        port = server.port
    with pytest.raises(BenchError, match="cannot connect"):
        driver.run("e2e", "gobbler", port)
