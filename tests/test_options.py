"""The mechanism of options, on a small table of its own (which has secrets, as the server's has)."""

import traceback
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest

from gobbler.errors import ConfigError
from gobbler.kinds import BROKERS, HEXADECIMAL, SWITCH, TEXT, Kind, optional, size
from gobbler.kinds import one_of as words
from gobbler.options import SHOWN_CHARACTERS, Also, File, Settings, option

NO_FILE = File("", {})


def from_url(text: str) -> str | None:
    """Take the password out of `user:password@host`; None when there is no user."""
    if "@" not in text:
        return None
    _, colon, password = text.partition("@")[0].partition(":")
    if not colon:
        raise ValueError("has no password")
    return password


@dataclass(frozen=True, slots=True, repr=False)
class Small(Settings):
    """Four options."""

    color: str = option("--color", words("red", "green", "blue"), "red", "Which.", group="Look")
    line_width: int = option("--line-width", size("1", "1KiB"), "3", "How wide.", group="Look", env="WIDTH")
    bold: bool = option("--bold", SWITCH, "no", "Whether.", group="Look")
    password: str | None = option(
        "--password",
        optional(words("hunter2", "gobbler", "opensesame")),
        "gobbler",
        "Which.",
        group="Access",
        also=(Also("URL", from_url),),
        secret=True,
    )


def read(argv: dict[str, object], environ: dict[str, str], **values: object) -> Small:
    """Read `Small` from three sources."""
    return Small.read(argv, environ, File("s.toml", values))


def host(text: str) -> str | None:
    """Take the host out of `user:password@host`."""
    found = text.rpartition("@")[2]
    if not found:
        raise ValueError("has no host")
    return found


def number(text: str) -> int:
    """Read a number as Python does: its error shows the text."""
    return int(text)


@dataclass(frozen=True, slots=True, repr=False)
class Guarded(Settings):
    """Options that get parts of a secret, and secrets of several types."""

    host: str = option(
        "--host", words("localhost", "db"), "localhost", "Which.", group="A",
        also=(Also("URL", host, secret=True), Also("HOST", host)),
    )  # fmt: skip
    key: bytes = option("--key", HEXADECIMAL, "", "Which.", group="A", secret=True)
    pin: int = option("--pin", Kind("PIN", number), "0", "Which.", group="A", secret=True)
    word: str = option("--word", TEXT, "", "Which.", group="A", secret=True)
    peers: tuple[str, ...] = option("--peers", BROKERS, "", "Which.", group="B")


def test_the_fields_have_the_defaults_already_read() -> None:
    assert (Small().color, Small().line_width, Small().bold, Small().password) == ("red", 3, False, "gobbler")
    assert Small.read({}, {}, NO_FILE) == Small()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Small().color = "green"  # type: ignore[misc]


def test_the_table_knows_every_name_of_an_option() -> None:
    table = [(o.flag, o.key, o.name, o.env, o.is_switch) for o in Small.options()]
    assert table == [
        ("--color", "color", "color", "GOBBLER_COLOR", False),
        ("--line-width", "line-width", "line_width", "WIDTH", False),
        ("--bold", "bold", "bold", "GOBBLER_BOLD", True),
        ("--password", "password", "password", "GOBBLER_PASSWORD", False),
    ]


def test_command_line_over_environment_over_file_over_default() -> None:
    argv: dict[str, object] = {"color": "green", "line_width": None, "bold": None}
    environ = {"GOBBLER_COLOR": "blue", "WIDTH": "4"}
    got = read(argv, environ, **{"color": "red", "line-width": 5, "bold": True})
    assert (got.color, got.line_width, got.bold) == ("green", 4, True)
    assert read({}, environ, color="green").color == "blue"
    assert read({}, {}, color="green").color == "green"


def test_a_switch_of_the_command_line_is_a_boolean() -> None:
    assert read({"bold": False}, {"GOBBLER_BOLD": "true"}).bold is False
    assert read({"bold": True}, {"GOBBLER_BOLD": "false"}).bold is True


def test_another_variable_is_weaker_than_the_own_and_stronger_than_the_file() -> None:
    url = {"URL": "me:hunter2@host"}
    assert read({}, url, password="opensesame").password == "hunter2"
    assert read({}, {**url, "GOBBLER_PASSWORD": "opensesame"}).password == "opensesame"
    assert read({}, {"URL": "host"}).password == "gobbler"
    assert read({}, {"URL": ""}, password="opensesame").password == "opensesame"


@pytest.mark.parametrize(
    ("argv", "environ", "values", "line"),
    [
        ({"color": "pink"}, {}, {}, "--color: 'pink' is none of red, green, blue (from the command line)"),
        ({}, {"WIDTH": "0"}, {}, "--line-width: '0' is too small: the minimum is 1 (from environment WIDTH)"),
        ({}, {}, {"line-width": 0}, "--line-width: '0' is too small: the minimum is 1 (from file s.toml)"),
        ({}, {}, {"line-width": 2.5}, "--line-width: '2.5' is not a number of bytes, such as "),
        ({}, {}, {"color": True}, "--color: must be a string or a number (from file s.toml)"),
        ({}, {}, {"color": ["red"]}, "--color: must be a string or a number (from file s.toml)"),
        ({}, {}, {"bold": [1]}, "--bold: must be true or false (from file s.toml)"),
        ({}, {}, {"colour": ""}, "'colour' is not an option; did you mean 'color'? (from file s.toml)"),
        ({}, {}, {"line_width": 1}, "'line_width' is not an option; did you mean 'line-width'? (from file "),
        ({}, {}, {"zzz": {}}, "'zzz' is not an option; did you mean "),
        ({}, {"GOBBLER_COLOR": "a\nb\x1b"}, {}, "--color: 'a\\nb\\x1b' is none of"),
    ],
)  # fmt: skip
def test_a_bad_value_is_one_line_that_names_option_and_source(
    argv: dict[str, object], environ: dict[str, str], values: dict[str, object], line: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(argv, environ, **values)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)
    assert line.endswith(")") == (str(caught.value) == line)


def test_a_long_value_is_cut() -> None:
    with pytest.raises(ConfigError) as caught:
        read({"color": "x" * 10_000}, {})
    assert len(str(caught.value)) < SHOWN_CHARACTERS + 100


@pytest.mark.parametrize("value", ["http://me:hunter2@host", "http://host/?key=hunter2"])
def test_a_url_in_the_wrong_place_is_not_shown(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read({"color": value}, {})
    assert str(caught.value) == "--color: the value is none of red, green, blue (from the command line)"


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"GOBBLER_PASSWORD": "s3cret"}, "--password: the value is none of hunter2, gobbler, opensesame"
         " (from environment GOBBLER_PASSWORD)"),
        ({"URL": "s3cret@host"}, "--password: the value has no password (from environment URL)"),
    ],
)  # fmt: skip
def test_a_bad_secret_is_not_shown(environ: dict[str, str], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read({}, environ)
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"URL": "me:hunter2@"}, "--host: the value has no host (from environment URL)"),
        ({"URL": "hunter2"}, "--host: the value is none of localhost, db (from environment URL)"),
        ({"HOST": "hosts"}, "--host: 'hosts' is none of localhost, db (from environment HOST)"),
        ({"HOST": "hosts", "URL": "db"}, ""),
        ({"URL": "hunter2", "GOBBLER_HOST": "db"}, ""),
    ],
)
def test_no_part_of_a_secret_variable_is_shown(environ: dict[str, str], line: str) -> None:
    if not line:
        assert Guarded.read({}, environ, NO_FILE) == Guarded(host="db")
        return
    with pytest.raises(ConfigError) as caught:
        Guarded.read({}, environ, NO_FILE)
    assert str(caught.value) == line
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_traceback_shows_no_more_than_the_line() -> None:
    with pytest.raises(ConfigError) as caught:
        Guarded.read({"key": "hunter2"}, {}, NO_FILE)
    shown = traceback.format_exception(caught.value)
    assert shown[-1].endswith("--key: the value is not bytes in hexadecimal (from the command line)\n")
    assert "ValueError" not in "".join(shown)


def test_secrets_are_stars_in_repr_and_public() -> None:
    got = read({"password": "hunter2"}, {})
    assert got.public() == {"color": "red", "line-width": 3, "bold": False, "password": "***"}
    assert repr(got) == "Small(color='red', line-width=3, bold=False, password='***')"
    assert read({"password": "off"}, {}).public()["password"] == "", "as if it were the empty text"


def test_values_are_shown_as_they_are_given() -> None:
    got = Guarded(key=b"\x0a\xff", pin=1234, word="opensesame", peers=("a:1", "b:2"))
    assert got.public() == {
        "host": "localhost",
        "key": "***",
        "pin": "***",
        "word": "***",
        "peers": "a:1,b:2",
    }
    assert Guarded().public() == {"host": "localhost", "key": "", "pin": "", "word": "", "peers": ""}
    assert repr(got) == "Guarded(host='localhost', key='***', pin='***', word='***', peers='a:1,b:2')"


def test_secrets_lists_what_has_to_be_hidden_from_logs() -> None:
    assert read({"password": "hunter2"}, {}).secrets() == ("hunter2",)
    assert read({"password": "off"}, {}).secrets() == ()
    assert Small().secrets() == (), "a published default is no secret, and a word that logs need"


def test_secrets_are_listed_in_every_form_that_a_text_may_have_them_in() -> None:
    got = Guarded(key=b"\x0a\xff'", pin=1234, word="opensesame", peers=("a:1",))
    assert got.secrets() == ("0aff27", "0AFF27", "\\n\\xff'", "1234", "opensesame")
    assert Guarded().secrets() == ()


def test_a_default_that_cannot_be_used_fails_at_once() -> None:
    with pytest.raises(ValueError, match="is none of red"):
        option("--color", words("red"), "mauve", "Which.", group="Look")


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text('color = "blue"\nline-width = 7\n', encoding="utf-8")
    assert Small.read({}, {}, File.read(str(path))) == Small(color="blue", line_width=7)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"color = red", "is not a TOML file: Invalid value (at line 1, column 9)"),
        (b"color = 1\ncolor = 2", "is not a TOML file: Cannot overwrite a value"),
        (b"color = '\xff'", "is not a TOML file: 'utf-8' codec can't decode"),
    ],
)
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "small.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        File.read(str(path))
    assert str(caught.value).startswith(f"--config: {str(path)!r} {reason}")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--config: cannot read '.*none': No such file or directory"):
        File.read(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"--config: cannot read '.*': Is a directory"):
        File.read(str(tmp_path))
    with pytest.raises(ConfigError, match="is not a TOML file: embedded null byte"):
        File.read("a\0b")
