"""The interactive session: on a terminal as a person has it, and in pipes."""

import json
import signal
import socket
from pathlib import Path

import pytest

from gobbler.cli.client.console import HELP
from tests.cli.client.command import Cli
from tests.cli.client.terminal import CTRL_C, CTRL_D, ENTER, LEFT, UP, Terminal
from tests.system.server import ServerProcess, eventually

PROMPT = "gobbler>"


def greeting(cli: Cli) -> str:
    return f"#connected to {cli.url}; ? is for help, Ctrl+D ends"


class TestTerminal:
    def test_a_conversation(self, cli: Cli, topic: str) -> None:
        with Terminal(url=cli.url) as terminal:
            terminal.last(greeting(cli), PROMPT)
            terminal.type(f"+ {topic}{ENTER}")
            terminal.last(f"{PROMPT} + {topic}", f"#subscribed-to {topic}", PROMPT)
            terminal.type(f"> {topic} my-id{ENTER}")
            terminal.last("header (or nothing)>")
            terminal.type(f"Color: blue{ENTER}{ENTER}hello{ENTER}")
            shown = terminal.until(lambda lines: f"{topic} 1: hello" in lines and lines[-1] == PROMPT)
            assert "#send my-id" in shown
            assert [line for line in shown if line.startswith("header")] == [
                "header (or nothing)> Color: blue",
                "header (or nothing)>",
            ]
            assert "body> hello" in shown
            (stored,) = cli.ok("fetch", topic, "--json").records
            assert (stored["headers"], stored["body"], stored["messageId"]) == (
                {"Color": "blue"},
                "hello",
                "my-id",
            )
            terminal.type(f"- {topic}{ENTER}")
            terminal.last(f"#canceled {topic}", PROMPT)
            terminal.type(CTRL_D)
            assert terminal.end() == 0

    def test_messages_do_not_disturb_what_is_typed(self, cli: Cli, topic: str) -> None:
        with Terminal(f"+ {topic}", url=cli.url) as terminal:
            terminal.last(f"#subscribed-to {topic}", PROMPT)
            terminal.type(f"> {topic}/other")
            terminal.last(f"{PROMPT} > {topic}/other")
            # The cursor is in the middle of the line, and has to stay there.
            terminal.type(LEFT * len("/other"))
            column = len(f"{PROMPT} > {topic}")
            deadline = eventually()
            while terminal.cursor[0] != column:
                deadline.again()
            for number in range(3):
                cli.ok("publish", topic, f"number {number}")
                terminal.last(f"{topic} {number + 1}: number {number}", f"{PROMPT} > {topic}/other")
            while terminal.cursor[0] != column:
                deadline.again()
            terminal.type(f"/an{ENTER}")
            terminal.last(f"{PROMPT} > {topic}/an/other", "header (or nothing)>")
            assert [line for line in terminal.lines if PROMPT in line] == [f"{PROMPT} > {topic}/an/other"]

    def test_the_arrows_bring_commands_back_and_no_bodies(self, cli: Cli, topic: str) -> None:
        with Terminal(url=cli.url) as terminal:
            terminal.last(PROMPT)
            terminal.type(f"+ {topic} 0 1{ENTER}")
            terminal.last(f"#fetch-done {topic}", PROMPT)
            terminal.type(f"> {topic}{ENTER}{ENTER}a body{ENTER}")
            terminal.until(
                lambda lines: any(line.startswith("#send") for line in lines) and lines[-1] == PROMPT
            )
            terminal.type(UP)
            terminal.last(f"{PROMPT} > {topic}")
            terminal.type(UP)
            terminal.last(f"{PROMPT} + {topic} 0 1")
            terminal.type(ENTER)
            terminal.last(f"{topic} 1: a body", f"#fetch-done {topic}", PROMPT)

    def test_help_and_the_ways_to_end(self, cli: Cli) -> None:
        with Terminal(url=cli.url) as terminal:
            terminal.last(PROMPT)
            terminal.type(f"?{ENTER}")
            shown = terminal.until(lambda lines: lines[-1] == PROMPT and lines[-2].startswith("quit"))
            assert max(map(len, shown)) < 80
            for sign in "+->":
                assert any(line.startswith(f"{sign} /foo") for line in shown)
            terminal.type(f"quit{ENTER}")
            assert terminal.end() == 0

    def test_ctrl_c_ends_it_quietly(self, cli: Cli) -> None:
        with Terminal(url=cli.url) as terminal:
            terminal.last(PROMPT)
            terminal.type(f"+ /half a line{CTRL_C}")
            assert terminal.end() == 130
            assert terminal.lines == [greeting(cli), f"{PROMPT} + /half a line"]

    def test_ctrl_c_gives_up_a_message(self, cli: Cli, topic: str) -> None:
        with Terminal(url=cli.url) as terminal:
            terminal.last(PROMPT)
            terminal.type(f"> {topic}{ENTER}{ENTER}")
            terminal.last("body>")
            terminal.type(f"not this{CTRL_C}")
            terminal.last("body> not this", PROMPT)
            terminal.type(f"+ {topic} 0 1{ENTER}")
            terminal.last(f"#fetch-start {topic} 0", f"#fetch-done {topic}", PROMPT)

    def test_mistakes_are_told_at_once(self, cli: Cli, topic: str) -> None:
        with Terminal(url=cli.url) as terminal:
            terminal.last(PROMPT)
            terminal.type(f"foo{ENTER}")
            terminal.last("!error-bad-request unknown command 'foo'", PROMPT)
            terminal.type(f"> foo{ENTER}")
            terminal.last("!error-send topic must begin with '/'", PROMPT)
            terminal.type(f"> {topic}{ENTER}no header{ENTER}")
            terminal.last(
                "!error expected a header as 'Name: value' or one JSON object, then an empty line",
                "header (or nothing)>",
            )
            terminal.type(CTRL_D)
            terminal.last("!error the input ended before the body; nothing was published", PROMPT)
            terminal.type(CTRL_D)
            assert terminal.end() == 0

    def test_what_is_pasted_is_carried_out(self, cli: Cli, topic: str) -> None:
        paste = "\x1b[200~{}\x1b[201~"
        with Terminal(url=cli.url) as terminal:
            terminal.last(PROMPT)
            terminal.type(paste.format(f"> {topic} p1\nA: b\n\ntwo\nlines") + ENTER)
            terminal.until(lambda lines: "#send p1" in lines and lines[-1] == PROMPT)
            terminal.type(paste.format(f"+ {topic} 0 1\n- {topic}") + ENTER)
            terminal.last(
                f"#fetch-start {topic} 1",
                f"{topic} 1: two\\nlines",
                f"#fetch-done {topic}",
                f"!error-bad-request not subscribed to {topic}",
                PROMPT,
            )

    def test_colours_unless_they_are_not_wanted(self, cli: Cli) -> None:
        with Terminal(url=cli.url) as terminal:
            terminal.last(PROMPT)
            assert b"\x1b[32m#connected" in terminal.written
        with Terminal(url=cli.url, NO_COLOR="1") as terminal:
            terminal.last(PROMPT)
            assert b"\x1b[32m" not in terminal.written
            assert b"#connected" in terminal.written

    def test_it_goes_on_after_the_server_restarts(self, restartable: ServerProcess, topic: str) -> None:
        cli = Cli(restartable.port)
        with Terminal("--log", "info", f"+ {topic}", url=cli.url) as terminal:
            terminal.last(f"#subscribed-to {topic}", PROMPT)
            terminal.type("half a li")
            terminal.last(f"{PROMPT} half a li")
            restartable.kill()
            terminal.until(
                lambda lines: (
                    any(line.startswith("!disconnected") for line in lines)
                    and lines[-1] == f"{PROMPT} half a li"
                )
            )
            restartable.start()
            cli.ok("publish", topic, "after")
            shown = terminal.until(lambda lines: lines[-2:] == [f"{topic} 1: after", f"{PROMPT} half a li"])
            assert "#connected again; subscriptions go on where they were" in shown
            assert any(" INFO gobbler.client" in line for line in shown)


class TestPipe:
    def test_plain_lines(self, cli: Cli, topic: str) -> None:
        send = f"> {topic} my-id\r\nColor: blue\nSize: 7\n\nhello \xff\n".encode("latin-1")
        done = cli.ok(input=send + f"\n  + {topic} 0 9  \n".encode())
        (sent,) = [line for line in done.lines if line.startswith("{")]
        assert done.lines == [
            "#send my-id",
            sent,
            f"#fetch-start {topic} 1",
            f"{topic} 1: hello \\xff",
            f"#fetch-done {topic}",
        ]
        assert json.loads(sent) == {
            "sequenceId": "1",
            "path": topic,
            "publisherMessageId": "my-id",
            "messagePublishingTime": json.loads(sent)["messagePublishingTime"],
        }
        (stored,) = cli.ok("fetch", topic, "--json").records
        assert stored["headers"] == {"Color": "blue", "Size": "7"}
        assert stored["bodyBase64"] == "aGVsbG8g/w=="

    def test_a_replay_is_shown_whole_before_the_end(self, cli: Cli, topic: str) -> None:
        cli.ok("publish", topic, "--lines", input="\n".join(map(str, range(3000))))
        done = cli.ok(input=f"+ {topic} 0")
        assert done.lines == [*(f"{topic} {n + 1}: {n}" for n in range(3000)), f"#subscribed-to {topic}"]

    def test_a_replay_is_shown_whole_before_it_is_canceled(self, cli: Cli, topic: str) -> None:
        cli.ok("publish", topic, "--lines", input="\n".join(map(str, range(3000))))
        lines = cli.ok(input=f"+ {topic} 0\n- {topic}\n").lines
        assert len(lines) == 3002
        assert lines[-3:] == [f"{topic} 3000: 2999", f"#subscribed-to {topic}", f"#canceled {topic}"]

    def test_what_it_has_published_is_shown_before_the_end(self, cli: Cli, topic: str) -> None:
        sends = "".join(f"> {topic}/a\n\n{n}\n" for n in range(50))
        for end in ("", f"- {topic}\n"):
            lines = cli.ok(input=f"+ {topic}\n{sends}{end}").lines
            shown = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{topic}/a ")]
            assert shown == [str(n) for n in range(50)]
        assert lines[-1] == f"#canceled {topic}"

    def test_a_fetch_of_more_than_a_page(self, cli: Cli, topic: str) -> None:
        cli.ok("publish", topic, "--lines", input="\n".join(map(str, range(3000))))
        lines = cli.ok(input=f"+ {topic} -2500 2400").lines
        assert [line for line in lines if line[0] == "/"] == [
            f"{topic} {n + 1}: {n}" for n in range(500, 2900)
        ]
        starts = [int(line.split()[-1]) for line in lines if line.startswith("#fetch-start")]
        assert (sum(starts), lines[0], lines[-1]) == (
            2400,
            f"#fetch-start {topic} 100",
            f"#fetch-done {topic}",
        )

    def test_messages_come_as_they_are_published_and_once(self, cli: Cli, topic: str) -> None:
        session = cli.start()
        session.stdin.write(f"+ {topic}\n+ {topic}/a\n+ {topic}\n".encode())
        session.stdin.flush()
        assert [session.line() for _ in range(3)] == [
            f"#subscribed-to {topic}",
            f"#subscribed-to {topic}/a",
            f"#subscribed-to {topic}",
        ]
        for number in range(1, 4):
            cli.ok("publish", f"{topic}/a", str(number), "--json")
            assert session.line() == f"{topic}/a {number}: {number}"
        # What was shown is shown again when somebody asks for it.
        session.stdin.write(f"+ {topic}/a 2\n".encode())
        session.stdin.flush()
        assert [session.line() for _ in range(3)] == [
            f"{topic}/a 2: 2",
            f"{topic}/a 3: 3",
            f"#subscribed-to {topic}/a",
        ]
        session.stdin.write(f"- {topic}\n".encode())
        session.stdin.flush()
        assert session.line() == f"#canceled {topic}"
        cli.ok("publish", topic, "not this")
        cli.ok("publish", f"{topic}/a", "this")
        assert session.line() == f"{topic}/a 5: this"
        assert session.end() == (0, b"", "")

    @pytest.mark.parametrize("text", ["> {}\nA: b", "> {}\nA: b\n"])
    def test_half_a_message_is_not_published(self, cli: Cli, topic: str, text: str) -> None:
        done = cli(input=text.format(topic))
        assert (done.status, done.out) == (
            2,
            "!error the input ended before the body; nothing was published\n",
        )
        assert cli.ok("fetch", topic).out == ""

    def test_an_empty_body(self, cli: Cli, topic: str) -> None:
        assert cli.ok(input=f"> {topic}\n\n").lines[0].startswith("#send ")
        assert cli.ok("fetch", topic).out == f"{topic} 1: \n"

    @pytest.mark.parametrize(
        ("text", "status", "out"),
        [
            ("foo\n", 2, "!error-bad-request unknown command 'foo'\n"),
            ("- /foo\n", 1, "!error-bad-request not subscribed to /foo\n"),
            ("+ /foo x\n", 2, "!error-bad-request start id is not a whole number of at most 2^53-1: 'x'\n"),
            ("> foo id\nA: b\n\nbody\n", 2, "!error-send id topic must begin with '/'\n"),
            ("> /foo\nno header\n\nbody\n", 2,
             "!error-send expected a header as 'Name: value' or one JSON object, then an empty line\n"),
            ("?\n", 0, f"{HELP}\n"),
            ("exit\nfoo\n", 0, ""),
            ("", 0, ""),
        ],
    )  # fmt: skip
    def test_the_exit_status_tells_of_the_first_failure(
        self, cli: Cli, text: str, status: int, out: str
    ) -> None:
        assert cli(input=text) == (status, out.encode(), "")

    def test_a_message_that_the_server_refuses(self, cli: Cli, topic: str) -> None:
        done = cli(input=f"> {topic} big\n\n{'x' * 1_100_000}\n")
        assert done.status == 1
        assert "!error-send big message is larger than the server allows" in done.lines

    def test_ctrl_c_ends_it_quietly(self, cli: Cli) -> None:
        session = cli.start("+ /foo")
        assert session.line() == "#subscribed-to /foo"
        assert session.end(signal.SIGINT) == (130, b"", "")


class TestArguments:
    def test_they_are_carried_out_and_that_is_all(self, cli: Cli, topic: str) -> None:
        send = f"> {topic} a1\nColor: red\n\nfirst\nsecond"
        done = cli.ok("--exit", send, f"+ {topic} 0 10", f"+ {topic} 0")
        assert [line for line in done.lines if line[0] != "{"] == [
            "#send a1",
            f"#fetch-start {topic} 1",
            f"{topic} 1: first\\nsecond",
            f"#fetch-done {topic}",
            f"{topic} 1: first\\nsecond",
            f"#subscribed-to {topic}",
        ]
        assert cli("--exit", f"- {topic}") == (
            1,
            f"!error-bad-request not subscribed to {topic}\n".encode(),
            "",
        )

    def test_one_that_begins_with_a_dash_is_no_option(self, cli: Cli, topic: str) -> None:
        done = cli("--verbose", "--user", "- x", "--exit", f"- {topic}", "?")
        assert done == (1, f"!error-bad-request not subscribed to {topic}\n{HELP}\n".encode(), "")

    def test_without_exit_the_input_follows(self, cli: Cli, topic: str) -> None:
        done = cli.ok(f"+ {topic}", input=f"- {topic}\n")
        assert done.lines == [f"#subscribed-to {topic}", f"#canceled {topic}"]

    def test_verbose_shows_messages_whole(self, cli: Cli, topic: str) -> None:
        cli.ok("--user", "zaphod", "publish", topic, "a\nb", "--id", "m", "--header", "A=ü")
        lines = cli.ok("--verbose", "--exit", f"+ {topic} -1 1").lines
        fields = lines[1].split(",")
        assert (fields[:3], fields[4], lines[2:4]) == ([topic, "1", "zaphod"], "m", ['{"A":"ü"}', "a\\nb"])

    @pytest.mark.parametrize("wrong", ["--exit", "publish", "+/foo"])
    def test_all_have_to_be_commands(self, cli: Cli, wrong: str) -> None:
        done = cli("+ /foo", wrong)
        assert (done.status, done.out) == (2, "")
        assert done.err == (
            f"gobbler-cli: not a command: {wrong!r} (options come before commands) (see gobbler-cli --help)\n"
        )

    def test_nobody_at_the_other_end(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        done = Cli(port)("--exit", "+ /foo")
        assert (done.status, done.out) == (3, "")
        assert done.err == (
            f"gobbler-cli: cannot connect to ws://127.0.0.1:{port}/stream/: "
            "is the server running? (Connection refused)\n"
        )

    def test_a_gap_is_told(self, tmp_path: Path, topic: str) -> None:
        options = ("--ms-memory-bytes", "100000", "--max-message-size", "16384")
        with ServerProcess(tmp_path, "--ms", "memory", "--kvs", "memory", *options) as server:
            cli = Cli(server.port)
            cli.ok("publish", topic, "--lines", input="\n".join("x" * 1000 for _ in range(2000)))
            done = cli.ok("--exit", f"+ {topic} 1 1")
            gap = [line for line in done.lines if line.startswith("!")]
            last = gap[0].split()[-1]
            assert gap == [f"!error-gap {topic} 1 {last}"]
            assert int(last) > 1000
            lines = cli.ok("--exit", f"+ {topic} 1").lines
            assert lines[0].startswith(f"!error-gap {topic} 1 ")
            assert lines[-1] == f"#subscribed-to {topic}"
            fetched = cli("fetch", topic, "--from", "1", "--count", "2000", "--json")
            assert (fetched.status, fetched.records[0]) == (1, {"gap": {"first": 1, "last": int(last)}})
            assert len(fetched.records) == 1 + 2000 - int(last)
            text = cli("fetch", topic, "--from", "1", "--count", "1")
            assert (text.status, text.err) == (
                1,
                f"gobbler-cli: messages 1 to {last} of {topic} cannot be had any more\n",
            )
