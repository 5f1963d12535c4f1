"""`gobbler-cli publish`."""

import signal
from pathlib import Path

import pytest

from tests.cli.client.command import Cli
from tests.cli.client.terminal import CTRL_D, ENTER, Terminal
from tests.client.scripted import Scripted
from tests.system.server import ServerProcess, eventually


def bodies(cli: Cli, topic: str) -> list[str]:
    return [record["body"] for record in cli.ok("fetch", topic, "--all", "--json").records]


class TestOne:
    def test_text(self, cli: Cli, topic: str) -> None:
        assert cli.ok("publish", f"{topic}/", "hello").out == f"{topic} 1\n"
        assert bodies(cli, topic) == ["hello"]

    def test_everything_about_it(self, cli: Cli, topic: str) -> None:
        headers = ("--header", "Color=blue", "--header", "X=a=b", "--header", "Color=red", "--header", "E=")
        (receipt,) = cli.ok(
            "publish", topic, "hi", "--id", "m1", *headers, "--user", "ford", "--json"
        ).records
        (stored,) = cli.ok("fetch", topic, "--json").records
        assert receipt == {"id": 1, "path": topic, "messageId": "m1", "time": stored["time"]}
        assert stored == {
            "id": 1,
            "path": topic,
            "userId": "ford",
            "applicationId": stored["applicationId"],
            "messageId": "m1",
            "time": stored["time"],
            "headers": {"Color": "blue, red", "X": "a=b", "E": ""},
            "body": "hi",
        }

    def test_bytes_from_anywhere(self, cli: Cli, topic: str, tmp_path: Path) -> None:
        body = bytes(range(256)) * 5
        (tmp_path / "file").write_bytes(body)
        cli.ok("publish", topic, "--file", str(tmp_path / "file"))
        cli.ok("publish", topic, "--file", "-", input=body)
        cli.ok("publish", topic, input=body)
        cli.ok("publish", topic, b"not UTF-8: \xff")
        cli.ok("publish", topic, "")
        cli.ok("publish", topic, "--", "-1")
        assert cli.ok("fetch", topic, "--raw").raw == body * 3 + b"not UTF-8: \xff-1"

    def test_whoever_types_the_body_is_told_so(self, cli: Cli, topic: str) -> None:
        with Terminal("publish", topic, url=cli.url) as terminal:
            terminal.last("gobbler-cli: reading from the terminal, until Ctrl+D")
            terminal.type(f"typed{ENTER}{CTRL_D}")
            assert terminal.end() == 0
            assert terminal.lines[-1] == f"{topic} 1"
        assert bodies(cli, topic) == ["typed\n"]

    def test_filters_go_over_rest(self, cli: Cli, topic: str) -> None:
        filters = ("--filter", "user_id=ford", "--filter", "connector=x")
        out = cli.ok("publish", topic, "for ford", *filters, "--header", "size=7", "--id", "r1").out
        assert out == f"{topic} 1\n"
        cli.ok(
            "publish",
            topic,
            "for ford",
            "--filter",
            "user_id=ford",
            "--header",
            "color=ü",
            "--user",
            "zaphod",
        )
        (stored,) = cli.ok("fetch", topic, "--user", "ford", "--json").records
        assert (stored["headers"], stored["userId"]) == ({"Color": "ü"}, "zaphod")
        assert cli.ok("fetch", topic, "--user", "marvin").out == ""


class TestLines:
    def test_each_is_a_message(self, cli: Cli, topic: str) -> None:
        lines = [b"one", b"", b"three\r", b"\xff four", b"five"]
        assert (
            cli.ok("publish", topic, "--lines", input=b"\n".join(lines)).out
            == f"{topic} 5 messages: 1 to 5\n"
        )
        assert cli.ok("fetch", topic, "--lines").raw == b"".join(line + b"\n" for line in lines)
        assert cli.ok("publish", topic, "--lines", input=b"six\n").out == f"{topic} 1 message: 6 to 6\n"
        assert cli.ok("publish", topic, "--lines").out == f"{topic} 0 messages\n"

    def test_receipts_as_json(self, cli: Cli, topic: str) -> None:
        records = cli.ok("publish", topic, "--lines", "--json", input="x\n" * 5000).records
        assert [record["id"] for record in records] == [*range(1, 5001)]

    def test_with_filters(self, cli: Cli, topic: str) -> None:
        done = cli.ok("publish", topic, "--lines", "--filter", "user_id=ford", input="a\nb\n")
        assert done.out == f"{topic} 2 messages: 1 to 2\n"
        assert cli.ok("fetch", topic, "--user", "ford", "--lines").out == "a\nb\n"

    @pytest.mark.parametrize("more", [0, 10, 100_000])
    def test_one_that_fails_ends_it(self, cli: Cli, topic: str, more: int) -> None:
        lines = "\n".join(["a", "b", "x" * 1_100_000, *"d" * more])
        done = cli("publish", topic, "--lines", input=lines)
        stored = len(bodies(cli, topic))
        assert stored == 2
        assert (done.status, done.out) == (1, "")
        assert done.err == (
            "gobbler-cli: line 3: message is larger than the server allows (stored: 2 messages: 1 to 2)\n"
        )

    def test_with_filters_too(self, cli: Cli, topic: str) -> None:
        lines = "\n".join(["a", "x" * 1_100_000, "c"])
        done = cli("publish", topic, "--lines", "--filter", "user_id=ford", input=lines)
        assert (done.status, done.out) == (1, "")
        assert done.err == (
            "gobbler-cli: line 2: message is larger than 1048576 bytes (stored: 1 message: 1 to 1)\n"
        )

    def test_a_wrong_topic(self, cli: Cli) -> None:
        done = cli("publish", "/a,b", "--lines", input="a\nb\n")
        assert done == (2, b"", "gobbler-cli: line 1: topic holds a comma (stored: 0 messages)\n")

    def test_resend_survives_a_restart(self, restartable: ServerProcess, topic: str) -> None:
        cli = Cli(restartable.port)
        publishing = cli.start("publish", topic, "--lines", "--resend", "--timeout", "60")
        publishing.stdin.write(b"first\n")
        publishing.stdin.flush()
        deadline = eventually()
        while not cli.ok("fetch", topic).out:
            deadline.again()
        restartable.kill()
        publishing.stdin.write(b"second\n")
        publishing.stdin.flush()
        restartable.start()
        assert publishing.end() == (0, f"{topic} 2 messages: 1 to 2\n".encode(), "")
        assert bodies(cli, topic) == ["first", "second"]


class TestFailures:
    @pytest.mark.parametrize(
        ("args", "text"),
        [
            ((), "Missing argument 'TOPIC'."),
            (("/foo", "x", "--file", "-"), "TEXT and --file exclude each other"),
            (("/foo", "x", "--lines"), "TEXT and --lines exclude each other"),
            (("/foo", "--lines", "--id", "x"), "--id is for one message, --lines for many"),
            (("/foo", "x", "--header", "A"), "Invalid value for '--header': 'A' is not like Name=value"),
            (("/foo", "x", "--filter", "=A"), "Invalid value for '--filter': '=A' is not like Name=value"),
            (("/foo", "--file", "/no/such"),
             "Invalid value for '--file': '/no/such': No such file or directory"),
            (("/foo", "x", "--user", "a,b"), "--user: user id holds a comma"),
        ],
    )  # fmt: skip
    def test_wrong_usage(self, cli: Cli, args: tuple[str, ...], text: str) -> None:
        line = f"gobbler-cli: {text} (see gobbler-cli publish --help)\n"
        assert cli("publish", *args) == (2, b"", line)

    @pytest.mark.parametrize(
        ("args", "text"),
        [
            (("foo", "x"), "topic must begin with '/'"),
            ((b"/\xff", "x"), "topic is not valid UTF-8"),
            (("/foo", "x", "--id", "a b"), "message id is empty or holds white space"),
            (("/foo", "x", "--filter", "UserId=a"),
             "filters must be named with words in lower case, joined by underscores"),
            (("/foo", "x", "--filter", "a=b", "--header", "a b=c"), "header 'a b' cannot be sent over HTTP"),
        ],
    )  # fmt: skip
    def test_what_is_not_allowed(self, cli: Cli, args: tuple[str | bytes, ...], text: str) -> None:
        assert cli("publish", *args) == (2, b"", f"gobbler-cli: {text}\n")

    def test_what_the_server_refuses(self, cli: Cli) -> None:
        done = cli("publish", "/foo", input=b"x" * 1_100_000)
        assert done == (1, b"", "gobbler-cli: message is larger than the server allows\n")

    def test_no_answer_in_time(self, topic: str) -> None:
        with Scripted() as scripted:
            publishing = Cli(scripted.port).start("publish", topic, "x", "--timeout", "2")
            peer = scripted.greeted()
            assert peer.next().endswith(b"\n\nx")
            assert publishing.end() == (4, b"", "gobbler-cli: the server has not answered in time\n")

    def test_no_answer_to_lines(self, topic: str) -> None:
        with Scripted() as scripted:
            publishing = Cli(scripted.port).start("publish", topic, "--lines", "--timeout", "2")
            publishing.stdin.write(b"x\n" * 100)
            publishing.stdin.close()
            publishing.process.stdin = None
            scripted.greeted()
            assert publishing.end() == (
                4,
                b"",
                "gobbler-cli: line 1: no answer within 2 s (stored: 0 messages)\n",
            )

    def test_a_connection_that_is_lost(self, topic: str) -> None:
        with Scripted() as scripted:
            publishing = Cli(scripted.port).start("publish", topic, "x")
            with scripted.greeted() as peer:
                peer.next()
            done = publishing.end()
            assert (done.status, done.out) == (3, "")
            assert done.err.startswith("gobbler-cli: not answered: the connection is lost")

    def test_ctrl_c_ends_it_quietly_though_nobody_answers(self, topic: str) -> None:
        with Scripted() as scripted:
            publishing = Cli(scripted.port).start("publish", topic, "x")
            scripted.greeted().next()
            assert publishing.end(signal.SIGINT) == (130, b"", "")
