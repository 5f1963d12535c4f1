"""`gobbler-cli subscribe` and `fetch`."""

import signal
import time

import pytest

from tests.cli.client.command import Cli
from tests.cli.client.terminal import CTRL_C, Terminal
from tests.client.scripted import Scripted
from tests.system.server import ServerProcess


def filled(cli: Cli, topic: str, number: int) -> None:
    cli.ok("publish", topic, "--lines", input="".join(f"{n}\n" for n in range(1, number + 1)))


class TestFetch:
    @pytest.mark.parametrize(
        ("args", "first", "last"),
        [
            ((), 251, 350),
            (("--count", "3"), 348, 350),
            (("--from", "0", "--count", "3"), 1, 3),
            (("--from", "42", "--count", "120"), 42, 161),
            (("--from", "-20"), 331, 350),
            (("--from", "-300", "--count", "250"), 51, 300),
            (("--all",), 1, 350),
            (("--all", "--from", "300"), 300, 350),
            (("--all", "--count", "5"), 1, 5),
            (("--from", "349", "--count", "9007199254740991"), 349, 350),
        ],
    )
    def test_what_is_asked_for_comes_in_order(
        self, cli: Cli, topic: str, args: tuple[str, ...], first: int, last: int
    ) -> None:
        filled(cli, topic, 350)
        assert cli.ok("fetch", topic, *args).lines == [f"{topic} {n}: {n}" for n in range(first, last + 1)]

    def test_more_than_a_page_of_large_messages(self, cli: Cli, topic: str) -> None:
        body = "x" * 200_000
        cli.ok("publish", topic, "--lines", input=f"{body}\n" * 150)
        assert cli.ok("fetch", topic, "--all", "--lines").raw == f"{body}\n".encode() * 150

    def test_nothing(self, cli: Cli, topic: str) -> None:
        assert cli.ok("fetch", topic).out == ""

    def test_the_forms(self, cli: Cli, topic: str) -> None:
        body = b"a\tb\n\xff\x1b[31m\xe2\x80\xae\xc3\xbc\\n"
        cli.ok("publish", f"{topic}/sub", "--user", "zaphod", "--header", "A=b", "--id", "m", input=body)
        (record,) = cli.ok("fetch", topic, "--json").records
        assert "body" not in record
        assert record["bodyBase64"] == "YQliCv8bWzMxbeKArsO8XG4="
        text = r"a" + "\t" + r"b\n\xff\x1b[31m\u202eü\n"
        assert cli.ok("fetch", topic).out == f"{topic}/sub 1 zaphod: {text}\n"
        assert cli.ok("fetch", topic, "--raw").raw == body
        assert cli.ok("fetch", topic, "--lines").raw == body + b"\n"
        whole = f"{topic}/sub,1,zaphod,{record['applicationId']},m,{record['time']}\n" + '{"A":"b"}\n' + text
        assert cli.ok("fetch", topic, "--verbose").out == f"{whole}\n"
        assert cli.ok("--verbose", "fetch", topic).out == f"{whole}\n"

    def test_no_colours_in_a_pipe_but_on_a_terminal(self, cli: Cli, topic: str) -> None:
        filled(cli, topic, 1)
        assert b"\x1b" not in cli.ok("fetch", topic).raw
        with Terminal("fetch", topic, url=cli.url) as terminal:
            assert terminal.end() == 0
            assert terminal.lines == [f"{topic} 1: 1"]
            assert b"\x1b[36m" in terminal.written

    @pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
    def test_no_colours_where_they_are_not_wanted(self, cli: Cli, topic: str, name: str, value: str) -> None:
        filled(cli, topic, 1)
        with Terminal("fetch", topic, url=cli.url, **{name: value}) as terminal:
            assert terminal.end() == 0
            assert terminal.written == f"{topic} 1: 1\r\n".encode()

    @pytest.mark.parametrize(
        ("args", "text"),
        [
            (("--json", "--raw"), "--json, --raw and --lines exclude each other"),
            (("--count", "0"), "Invalid value for '--count': 0 is not between 1 and 9007199254740991"),
            (("--from", "x"), "Invalid value for '--from': 'x' is not a whole number"),
            (("--timeout", "0"), "Invalid value for '--timeout': '0' is not a number above zero"),
            (("--timeout", "nan"), "Invalid value for '--timeout': 'nan' is not a number above zero"),
            (("more",), "Got unexpected extra argument (more)"),
        ],
    )
    def test_wrong_usage(self, cli: Cli, args: tuple[str, ...], text: str) -> None:
        assert cli("fetch", "/foo", *args) == (
            2,
            b"",
            f"gobbler-cli: {text} (see gobbler-cli fetch --help)\n",
        )

    def test_a_server_that_does_not_answer(self) -> None:
        with Scripted() as scripted:
            fetching = Cli(scripted.port).start("fetch", "/foo", "--timeout", "2")
            scripted.greeted().next()
            assert fetching.end() == (4, b"", "gobbler-cli: the server has not answered in time\n")

    def test_a_server_that_cannot_read(self) -> None:
        with Scripted() as scripted:
            fetching = Cli(scripted.port).start("fetch", "/foo")
            peer = scripted.greeted()
            peer.hear(b"+ /foo -100 100")
            peer.say(b"!error-server-internal /foo: the message store cannot be read")
            line = "gobbler-cli: cannot fetch from /foo: the message store cannot be read\n"
            assert fetching.end() == (1, b"", line)

    def test_nobody_reads_the_output(self, cli: Cli, topic: str) -> None:
        filled(cli, topic, 20_000)
        done = cli.shell(f"set -o pipefail; gobbler-cli fetch {topic} --all | head -n 1")
        assert done == (141, f"{topic} 1: 1\n".encode(), "")
        done = cli.shell(f"gobbler-cli fetch {topic} --count 2 >/dev/full")
        assert done == (1, b"", "gobbler-cli: No space left on device\n")


class TestSubscribe:
    def test_a_count(self, cli: Cli, topic: str) -> None:
        filled(cli, topic, 10)
        out = cli.ok("subscribe", topic, "--from", "-3", "--count", "2").lines
        assert out == [f"{topic} 8: 8", f"{topic} 9: 9"]

    def test_it_follows_and_writes_at_once(self, cli: Cli, topic: str) -> None:
        filled(cli, topic, 2)
        following = cli.start("subscribe", topic, "--from", "2", "--json")
        assert '"body":"2"' in following.line()
        for number in range(3, 6):
            cli.ok("publish", f"{topic}/sub", f"live {number}")
            assert f'"id":{number},"path":"{topic}/sub"' in following.line()
        assert following.end(signal.SIGINT) == (130, b"", "")

    def test_it_goes_on_after_a_restart(self, restartable: ServerProcess, topic: str) -> None:
        cli = Cli(restartable.port)
        filled(cli, topic, 100)
        following = cli.start("subscribe", topic, "--from", "0", "--count", "300")
        shown = [following.line() for _ in range(100)]
        for _ in range(2):
            restartable.kill()
            lost = following.said()
            assert lost.startswith("gobbler-cli: the connection is lost"), lost
            assert lost.endswith("; connecting again")
            restartable.start()
            cli.ok("publish", topic, "--lines", input="".join(f"{n}\n" for n in range(100)))
            shown += [following.line() for _ in range(100)]
        assert following.end() == (0, b"", "")
        bodies = [n + 1 for n in range(100)] + [*range(100)] * 2
        assert shown == [f"{topic} {n + 1}: {body}" for n, body in enumerate(bodies)]

    def test_a_time(self, cli: Cli, topic: str) -> None:
        filled(cli, topic, 2)
        begun = time.monotonic()
        done = cli.ok("subscribe", topic, "--from", "0", "--timeout", "2")
        assert done.lines == [f"{topic} 1: 1", f"{topic} 2: 2"]
        assert time.monotonic() - begun >= 2

    def test_too_few_in_time(self, cli: Cli, topic: str) -> None:
        filled(cli, topic, 2)
        done = cli("subscribe", topic, "--from", "0", "--count", "3", "--timeout", "2")
        line = "gobbler-cli: fewer than 3 messages came in time\n"
        assert done == (4, f"{topic} 1: 1\n{topic} 2: 2\n".encode(), line)

    def test_ctrl_c_on_a_terminal(self, cli: Cli, topic: str) -> None:
        filled(cli, topic, 1)
        with Terminal("subscribe", topic, "--from", "0", url=cli.url) as terminal:
            terminal.last(f"{topic} 1: 1")
            terminal.type(CTRL_C)
            assert terminal.end() == 130
            assert terminal.lines == [f"{topic} 1: 1", "^C"]

    def test_ctrl_c_in_the_middle_of_beginning_to_wait(self, cli: Cli, topic: str) -> None:
        # The lock is not held then, and leaving it is an error, which is not what has happened.
        done = cli.python(
            "import sys, threading\n"
            "class Interrupted(threading.Condition):\n"
            "    def wait(self, timeout=None):\n"
            "        if timeout is None and threading.current_thread() is threading.main_thread():\n"
            "            self.release()\n"
            "            raise KeyboardInterrupt\n"
            "        return super().wait(timeout)\n"
            "threading.Condition = Interrupted\n"
            "from gobbler.cli.client.command import main\n"
            "main(sys.argv[1:])\n",
            "subscribe",
            topic,
        )
        assert done == (130, b"", "")

    def test_nobody_reads_the_output(self, cli: Cli, topic: str) -> None:
        filled(cli, topic, 20_000)
        done = cli.shell(f"set -o pipefail; gobbler-cli subscribe {topic} --from 0 | head -n 1")
        assert done == (141, f"{topic} 1: 1\n".encode(), "")

    def test_a_server_that_refuses(self) -> None:
        with Scripted() as scripted:
            following = Cli(scripted.port).start("subscribe", "/foo", "--from", "0")
            peer = scripted.greeted()
            peer.hear(b"+ /foo 0")
            peer.say(b"!error-subscribed-to /foo too many subscriptions")
            line = "gobbler-cli: cannot subscribe to /foo: too many subscriptions\n"
            assert following.end() == (1, b"", line)

    def test_a_topic_that_is_none(self, cli: Cli) -> None:
        assert cli("subscribe", "foo") == (2, b"", "gobbler-cli: topic must begin with '/'\n")
