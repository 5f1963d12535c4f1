"""What README.md and docs/ say is true: the examples run, and every name exists."""

import re
import tomllib
from pathlib import Path

import pytest

from gobbler import errors
from gobbler.cli.client.command import root as client
from gobbler.config import OPTIONS
from gobbler.connectors.connector import ATTEMPTS_A_WORKER
from gobbler.connectors.metrics import PushMetrics
from gobbler.metrics import Metrics
from gobbler.options import Option
from gobbler.protocol import block, command, filters, message, topic
from gobbler.reporting.metrics import ReportingMetrics
from gobbler.store.filelog import files, store
from gobbler.websocket import connection, gateway, session
from tests.docs.console import ROOT, Console, serving
from tests.docs.python import run_python
from tests.ports import free_port

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
PROTOCOL, OPERATIONS, LOG = (ROOT / "docs" / f"{name}.md" for name in ("protocol", "operations", "log"))
ALSO = {"--config", "--help", "--version"}  # of the command, but no options of the table
OTHERS = {"--strict", "--markdown", "--workers"}  # of mypy, the benchmark and gunicorn


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """The text below a heading of the second level."""
    return page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def column(text: str, number: int = 1) -> list[str]:
    """The cells of a column of all tables of a text, without their heads."""
    rows = re.sub(r"^\|.*\|\n\| ---.*\|\n", "", text, flags=re.MULTILINE)
    return [row.split(" | ")[number - 1].strip("| ") for row in rows.splitlines() if row.startswith("| ")]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(params=PAGES, ids=lambda page: page.stem)
def page(request: pytest.FixtureRequest) -> str:
    return read(request.param)


# The examples


def test_the_tour_runs(port: int, tmp_path: Path) -> None:
    tour = section(read(README), "A tour of two minutes")
    with Console(port, tmp_path / "var") as console:
        assert console.run(tour) >= 15
        assert run_python(tour, port) == 1


def test_the_examples_of_the_protocol_run(port: int, tmp_path: Path) -> None:
    with serving(port, tmp_path / "var"), Console(port, tmp_path) as console:
        assert console.run(read(PROTOCOL)) >= 50


def test_what_the_browser_sends_is_understood() -> None:
    (text,) = re.findall(r'^ws\.send\("(.*)"\)', read(README), re.MULTILINE)
    sent = command.parse(text.encode().decode("unicode_escape").encode())
    assert sent == command.Send(b"/foo", b"my-id", b'{"Color":"blue"}', b"hello from a browser")


# Names


def test_links_lead_somewhere(page: str) -> None:
    place = ROOT if page == read(README) else ROOT / "docs"
    targets = [target for target in re.findall(r"\]\(([^)]+)\)", page) if "://" not in target]
    assert [target for target in targets if not leads_somewhere(place, target)] == []


def leads_somewhere(place: Path, target: str) -> bool:
    """Whether a link's file exists, and has the heading that the link names, if it does."""
    name, _, heading = target.partition("#")
    file = place / name
    if not file.exists() or not heading:
        return file.exists()
    headings = re.findall(r"^## (.*)$", read(file), re.MULTILINE)
    return heading in [found.lower().replace(" ", "-") for found in headings]


def test_every_file_that_is_named_exists(page: str) -> None:
    named = re.findall(r"(?<![\w/.>-])(?:gobbler|tests|docs|conf|bench)/[\w./-]*", page)
    assert [name for name in named if not (ROOT / name.rstrip(".")).exists()] == []


def test_every_target_of_make_that_is_named_exists(page: str) -> None:
    named = set(re.findall(r"(?:`|\$ )make ([a-z-]+)", page))
    made = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    assert named <= made


def test_every_option_and_variable_that_is_named_exists(page: str) -> None:
    flags = {option.flag for option in OPTIONS} | {f"--no-{o.key}" for o in OPTIONS if o.is_switch}
    client_flags, client_variables = of_the_client()
    assert set(re.findall(r"`(--[a-z-]+)", page)) <= flags | client_flags | ALSO | OTHERS
    variables = {option.env for option in OPTIONS} | {"GOBBLER_CONFIG"}
    assert set(re.findall(r"GOBBLER_[A-Z_]+", page)) <= variables | client_variables


def of_the_client() -> tuple[set[str], set[str]]:
    """The options of `gobbler-cli` and all its verbs, and their variables."""
    params = [param for verb in [client, *client.commands.values()] for param in verb.params]
    flags = {name for param in params for name in param.opts if name.startswith("--")}
    return flags, {param.envvar for param in params if isinstance(param.envvar, str)}


def row(option: Option) -> str:
    """An option's line of the README's table."""
    name = f"`{option.flag}`, `--no-{option.key}`" if option.is_switch else f"`{option.flag}`"
    value = "" if option.is_switch else f"`{option.kind.metavar}`".replace("|", "\\|")
    default = f"`{option.default}`" if option.default else ""
    return f"| {name} | {value} | {default} | `{option.env}` | {option.help} |"


def test_the_table_of_options_is_that_of_the_code() -> None:
    table = read(README).split("<!-- options -->\n")[1].split("<!-- /options -->")[0]
    assert table.splitlines()[2:] == [row(option) for option in OPTIONS]


def test_operations_explains_every_option() -> None:
    text = read(OPERATIONS)
    assert [option.flag for option in OPTIONS if f"`{option.flag}" not in text] == []


def test_the_table_of_metrics_is_that_of_the_code() -> None:
    metrics = Metrics("1")
    PushMetrics(metrics.registry)
    ReportingMetrics(metrics.registry)
    page, _ = metrics.render()
    exported = re.findall(r"^# TYPE (\w+)", page.decode(), re.MULTILINE)
    told = [cell.strip("`") for cell in column(section(read(OPERATIONS), "Metrics"))]
    assert sorted(told) == sorted(exported)


def test_the_kinds_of_errors_are_those_of_the_code() -> None:
    def codes(kind: type[errors.GobblerError]) -> set[str]:
        return {kind.code}.union(*(codes(below) for below in kind.__subclasses__()))

    (what,) = re.findall(r"^\| `gobbler_errors_total` \| .* `kind`: (.*)", read(OPERATIONS), re.MULTILINE)
    told = set(re.findall(r"`([a-z-]+)`", what))
    assert told >= {"internal", "bad-request", "store-unavailable"}
    assert told <= codes(errors.GobblerError)


def test_the_tables_of_dependencies_are_those_of_the_project() -> None:
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    told = [name for cell in column(section(read(README), "Dependencies")) for name in cell.split(", ")]
    assert told
    assert sorted(told) == sorted(re.split("[^\\w-]", name)[0] for name in wanted)


def test_the_tree_names_every_room_and_every_module_beside_them() -> None:
    told = {name for cell in column(section(read(README), "The tree")) for name in cell.split(", ")}
    rooms = {f"gobbler/{path.parent.name}/" for path in (ROOT / "gobbler").glob("*/__init__.py")}
    modules = {f"gobbler/{path.name}" for path in (ROOT / "gobbler").glob("[a-z]*.py")}
    assert rooms | modules <= told


def test_the_figures_have_their_place() -> None:
    assert re.search(r"^<!-- bench -->\n.*\n<!-- /bench -->$", read(README), re.MULTILINE | re.DOTALL)


def test_the_owner_of_the_volume_is_the_images() -> None:
    (owner,) = re.findall(r"--uid (\d+)", read(ROOT / "Dockerfile"))
    assert f"user {owner}" in section(read(README), "Deployment")


# Numbers

KIB, MIB = 1024, 1024**2


@pytest.mark.parametrize(
    "told",
    [
        f"It has at most {topic.MAX_BYTES:,} bytes.",
        f"message ids have at most {message.MAX_FIELD_BYTES} bytes",
        f"at most {command.MAX_HEADER_LINES} and {command.MAX_HEADER_BYTES // KIB} KiB",
        f"larger than `--max-message-size` and {gateway.HEAD_BYTES // KIB} KiB",
        f"At most {session.MAX_FETCHES} fetches of a client",
        f"A client may have {session.MAX_SUBSCRIPTIONS:,} subscriptions",
        f"With more than {connection.QUEUE_LIMIT // MIB} MiB unsent",
    ],
)
def test_the_limits_of_the_protocol_are_those_of_the_code(told: str) -> None:
    assert told in " ".join(read(PROTOCOL).split())


def test_the_limit_of_filters_is_that_of_the_code() -> None:
    assert "at most 1,024 bytes, as JSON" in " ".join(read(PROTOCOL).split())
    assert filters.from_query([("filterA", "v" * 1000)])
    with pytest.raises(errors.InvalidMessage, match="longer than 1024"):
        filters.from_query([("filterA", "v" * 1024)])


def test_the_attempts_of_a_worker_are_those_of_the_code() -> None:
    assert f"A worker has up to {ATTEMPTS_A_WORKER} attempts under way" in read(OPERATIONS)
    helps = [option.help for option in OPTIONS if option.name.endswith("_workers")]
    assert [help for help in helps if f"each up to {ATTEMPTS_A_WORKER} " not in help] == []


@pytest.mark.parametrize(
    "told",
    [
        f"`{files.OPEN_LIMIT}` files",
        f"`{store.OPEN_PARTITIONS:,}` partitions",
        f"`{store.INDEX_BYTES // MIB} MiB` of indexes",
        f"`{block.BLOCK_BYTES // KIB} KiB` of frames",
    ],
)
def test_the_limits_of_the_log_are_those_of_the_code(told: str) -> None:
    assert told in read(LOG)


def test_the_drawings_of_the_layout_are_those_of_the_code() -> None:
    """Each is, line for line, in the description of a module, whichever that is."""
    drawings = re.findall(r"^(?:    .*[|+].*\n){2,}", read(LOG), re.MULTILINE)
    folders = (ROOT / "gobbler" / "store", ROOT / "gobbler" / "protocol")
    code = "\n".join(read(path) for folder in folders for path in folder.rglob("*.py"))
    assert [re.findall('"G[A-Z]+"', drawing) for drawing in drawings] == [['"GLOG"'], ['"GBLK"'], []]
    assert [drawing for drawing in drawings if drawing not in code] == []
