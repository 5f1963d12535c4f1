"""Runs the examples of a page: what stands in its `console` and `pycon` blocks, in their order.

    $ command          is run by a shell; the lines below are its output
    $ gobbler-cli      without a verb begins a session of it on a terminal
    gobbler> text      is typed into that session; the lines below are what it shows next
    $ ...wsdump ...    begins a session of a WebSocket client
    > text             is typed into the last session
    < text             is what that session shows next
    $ make run         begins a server; a line that it logs has to match

`...` in what is expected stands for anything. A page says 8080 and `.venv`; what runs is another port and
the environment of the tests.
"""

import doctest
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple, Self

from tests.docs.prompt import PROMPTS, Prompt

ROOT = Path(__file__).parents[2]
DEADLINE = 20.0
# What `make test ARGS=...` hands down, and what would lead curl or a server elsewhere.
FOREIGN = re.compile(r"(GOBBLER_.*|(GNU)?MAKE.*|MFLAGS|ARGS|PYTHON|VENV|PORT|.*_proxy)", re.IGNORECASE)

_TYPED = re.compile(rf"({'|'.join(map(re.escape, PROMPTS))})(?: (.*))?")
_INTERACTIVE = re.compile(r"\S*gobbler-cli((?: --\w+ \w+)*)")
_BLOCK = re.compile(r"^```(console|pycon)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COLOURS = re.compile(r"\x1b\[[0-9]*[mK]")
_NEXT_LINE = "\x1b[E"


class Step(NamedTuple):
    """A line that does something: its sign and text, and the output expected of it.

    The signs are `$`, `>`, `<`, and the prompts of `gobbler-cli`; without a sign, it is what that shows.
    """

    sign: str
    text: str
    output: str = ""


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of the examples."""
    return _BLOCK.findall(page)


def steps(block: str) -> list[Step]:
    """What a console block does, in order."""
    found: list[Step] = []
    for line in block.splitlines():
        sign, space, text = line.partition(" ")
        if typed := _TYPED.fullmatch(line):
            found.append(Step(typed[1], typed[2] or ""))
        elif sign in ("$", ">", "<") and space:
            found.append(Step(sign, text))
        elif not found:
            found.append(Step("", line))
        else:
            last = found[-1]
            assert last.sign not in ("<", ">"), f"not an output of a command: {line}"
            found[-1] = last._replace(output=f"{last.output}{line}\n")
    return found


def matches(expected: str, actual: str) -> bool:
    """Whether a text is what is expected, `...` being anything."""
    pattern = re.escape(expected.strip()).replace(r"\.\.\.", ".*")
    return re.fullmatch(pattern, actual.replace("\r", "").strip(), re.DOTALL) is not None


def environment(**variables: str) -> dict[str, str]:
    """The environment without what must not reach an example."""
    return {k: v for k, v in os.environ.items() if not FOREIGN.fullmatch(k)} | variables


class Process:
    """A program in a process group of its own, whose output lines are read one by one, in time."""

    def __init__(self, command: list[str], **variables: str) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(**variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        assert self._process.stdin
        assert self._process.stdout
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        self._stdin.close()
        self._stdout.close()

    def type(self, text: str) -> None:
        """Give it a line."""
        self._stdin.write(f"{text}\n".encode())
        self._stdin.flush()

    def line(self) -> str:
        """Return the next line; a program that ends or says nothing for too long fails the test."""
        line = self._lines.get(timeout=DEADLINE)
        assert line is not None, "the program has ended"
        return line

    def rest(self) -> list[str]:
        """Return the lines that nobody has asked for, once the program has ended."""
        rest = []
        while (line := self._lines.get(timeout=DEADLINE)) is not None:
            rest.append(line)
        return rest

    def _read(self) -> None:
        for raw in self._stdout:
            for line in self._shown(raw.decode()):
                self._lines.put(line)
        self._lines.put(None)

    def _shown(self, text: str) -> list[str]:
        return [text.rstrip("\n")]


class Client(Process):
    """A session of `wsdump`; its lines are without prompts and colours."""

    def _shown(self, text: str) -> list[str]:
        lines = _COLOURS.sub("", text).replace(_NEXT_LINE, "\n").splitlines()
        # Two threads write there: a prompt can stand before a line and, without its space, behind it.
        bare = (re.sub("^(> )+", "", re.sub("(?<=')[> ]+$", "", line)) for line in lines)
        return [line for line in bare if line]


class Console:
    """Runs examples against a server on `port`, in a folder of their own where they start one."""

    def __init__(self, port: int, storage: Path) -> None:
        self._port = port
        self._storage = storage
        self._stack = ExitStack()
        self._client: Client | None = None
        self._prompt: Prompt | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End what was begun; a session must not have shown more than its page says."""
        with self._stack:
            self._end_session(checked=not error[0])

    def run(self, page: str) -> int:
        """Run the examples of a page and return how many steps that were."""
        done = 0
        for language, block in blocks(page):
            text = block.replace("8080", str(self._port)).replace(".venv/", f"{sys.prefix}/")
            if language == "pycon":
                done += self._python(text)
                continue
            for step in steps(text):
                self._step(step)
                done += 1
        return done

    def _step(self, step: Step) -> None:
        if step.sign == ">":
            self._session().type(step.text)
        elif step.sign == "<":
            self._expect(f"< {step.text}")
        elif "wsdump" in step.text:
            self._end_session()
            self._client = Client(step.text.split())
            self._expect(step.output)
        elif interactive := _INTERACTIVE.fullmatch(step.text):
            self._begin(interactive[1].split(), step.output)
        elif not step.sign or step.sign in PROMPTS:
            self._converse(step)
        elif step.text == "make run":
            self._serve(step.output)
        else:
            self._shell(step)

    def _begin(self, args: list[str], greeting: str) -> None:
        self._prompt = self._stack.enter_context(Prompt(args, self._url, matches))
        self._prompt.expect(greeting)

    def _converse(self, step: Step) -> None:
        assert self._prompt is not None, "no session of gobbler-cli has begun"
        if step.sign:
            self._prompt.type(step.sign, step.text)
        self._prompt.expect(step.output if step.sign else f"{step.text}\n{step.output}")

    @property
    def _url(self) -> str:
        return f"ws://localhost:{self._port}/stream/"

    def _session(self) -> Client:
        assert self._client is not None, "no session has begun"
        return self._client

    def _expect(self, expected: str) -> None:
        actual = self._session().line()
        assert matches(expected, actual), f"expected {expected}, got {actual}"

    def _end_session(self, checked: bool = True) -> None:
        client, self._client = self._client, None
        if client is not None:
            with client:
                pass
            shown = [line for line in client.rest() if line.startswith("< ")]
            assert not checked or shown == []

    def _shell(self, step: Step) -> None:
        command = ["bash", "-euo", "pipefail", "-c", step.text]
        done = subprocess.run(
            command,
            env=environment(GOBBLER_CLI_URL=self._url, PATH=f"{sys.prefix}/bin:{os.environ['PATH']}"),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 0, f"{step.text}: {done.stderr}"
        assert matches(step.output, done.stdout), f"{step.text}: {done.stdout}"

    def _serve(self, expected: str) -> None:
        """Begin the server as `make run` does, in the environment that the tests have."""
        self._stack.enter_context(serving(self._port, self._storage, expected))

    def _python(self, block: str) -> int:
        """Run an interactive session of Python."""
        test = doctest.DocTestParser().get_doctest(block, {}, "page", None, None)
        told: list[str] = []
        failed, tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append)
        assert not failed, "".join(told)
        return tried


@contextmanager
def serving(port: int, storage: Path, expected: str = "...listening on ...") -> Iterator[None]:
    """Run the server by `make run`, which must log what is expected and stop well on Ctrl+C.

    `--assume-old` keeps make from installing anything: the environment is the one that runs the tests.
    """
    make = ["make", f"--assume-old={sys.prefix}/.server", "run", f"VENV={sys.prefix}"]
    variables = {"GOBBLER_STORAGE_PATH": str(storage), "GOBBLER_HTTP_LISTEN": f"127.0.0.1:{port}"}
    with Process(make, **variables) as server:
        while not matches(expected, server.line()):
            pass
        yield
    log = server.rest()
    assert [line for line in log if "listener stopped" in line], log
