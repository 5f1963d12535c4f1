"""What an option is: where its value comes from, how it is read, how it is shown.

`gobbler.config` is a table of `option(...)` lines; everything that is the same
for all of them is here. A value is looked for on the command line, in the
environment and in the file, in this order; the default comes last. Whatever
the source, it is text when it arrives, and the option's `Kind` reads it.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

from gobbler.errors import ConfigError
from gobbler.kinds import SWITCH, Kind

T = TypeVar("T")

SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Also:
    """Another environment variable that an option understands when its own is not set.

    `translate` makes the option's text from the variable's; None when it says nothing about
    this option. It raises ValueError, its text completing the sentence "<value> ...".
    """

    variable: str
    translate: Callable[[str], str | None]
    secret: bool = False
    """Whether its value holds a secret: then no part of it is shown, whatever the option."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option; `default` is text, as a user would write it."""

    flag: str
    kind: Kind[Any]
    default: str
    help: str
    group: str
    env: str
    also: tuple[Also, ...]
    secret: bool

    @property
    def key(self) -> str:
        """The option's name in the file: `storage-path`."""
        return self.flag.removeprefix("--")

    @property
    def name(self) -> str:
        """The field of the settings that holds the value: `storage_path`."""
        return self.key.replace("-", "_")

    @property
    def is_switch(self) -> bool:
        """Whether the command line has it as `--name` and `--no-name`, without a value."""
        return self.kind is SWITCH

    def read(self, text: str, where: str) -> object:
        """Read a value. Raises: ConfigError, naming the option, the value unless secret, and `where`."""
        try:
            return self.kind.read(text)
        except ValueError as error:
            # Not `from error`: the line says it all, and a traceback must not say more.
            raise self.refused(text, str(error), where) from None

    def refused(self, text: str, problem: str, where: str) -> ConfigError:
        """The error that says what is wrong with a value; always one line."""
        # Where no URL is wanted, one is given by mistake, perhaps with a password or a key in it.
        hidden = self.secret or "@" in text or "?" in text
        shown = "the value" if hidden else shorten(repr(text))
        return ConfigError(f"{self.flag}: {shown} {problem} (from {where})")


def option(
    flag: str,
    kind: Kind[T],
    default: str,
    help: str,
    *,
    group: str,
    env: str = "",
    also: tuple[Also, ...] = (),
    secret: bool = False,
) -> T:
    """Declare an option as a field of a `Settings` dataclass.

    `env` is derived from the flag (`--ws-prefix`: `GOBBLER_WS_PREFIX`) unless given. The field's
    default is `default` as `kind` reads it, so a default that cannot be used fails at import.
    """
    variable = env or "GOBBLER_" + flag.removeprefix("--").replace("-", "_").upper()
    made = Option(flag, kind, default, help, group, variable, also, secret)
    # `field` claims to return the default's type, which is what a type checker has to see here.
    return field(default=kind.read(default), metadata={"option": made})


@dataclass(frozen=True, slots=True)
class File:
    """The values of a TOML file and the file's name for error texts."""

    name: str
    values: Mapping[str, object]

    @classmethod
    def read(cls, name: str) -> Self:
        """Read a TOML file. Raises: ConfigError when it cannot be read or is not valid TOML."""
        try:
            return cls(name, tomllib.loads(Path(name).read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigError(f"--config: cannot read {name!r}: {error.strerror}") from error
        except ValueError as error:  # not UTF-8, not TOML, or a name that no file can have
            reason = " ".join(str(error).split())
            raise ConfigError(f"--config: {name!r} is not a TOML file: {reason}") from error

    def check_keys(self, known: list[str]) -> None:
        """Refuse keys that are no options. Raises: ConfigError naming the nearest known key."""
        for key in self.values:
            if key not in known:
                nearest = get_close_matches(key, known, n=1, cutoff=0.0)[0]
                found = f"{shorten(repr(key))} is not an option; did you mean {nearest!r}?"
                raise ConfigError(f"{found} (from file {self.name})")

    def text(self, option: Option) -> str:
        """Return an option's value as text. Raises: ConfigError for a table, a list or a date."""
        value = self.values[option.key]
        if isinstance(value, bool):
            if option.is_switch:
                return str(value).lower()
        elif isinstance(value, str | int | float):
            return str(value)
        wanted = "true or false" if option.is_switch else "a string or a number"
        raise ConfigError(f"{option.flag}: must be {wanted} (from file {self.name})")


class Settings:
    """The base of a frozen dataclass whose fields are all `option(...)`s."""

    __slots__ = ()

    @classmethod
    @cache
    def options(cls) -> tuple[Option, ...]:
        """Return the table, in the order of declaration."""
        return tuple(f.metadata["option"] for f in fields(cls))  # type: ignore[arg-type]

    @classmethod
    def read(cls, argv: Mapping[str, object], environ: Mapping[str, str], file: File) -> Self:
        """Read and check every option.

        `argv` maps field names to text, booleans (switches) or None (not given).
        Raises: ConfigError for the first value that cannot be used, or an unknown key of the file.
        """
        file.check_keys([o.key for o in cls.options()])
        values = {o.name: Option.read(*next(_given(o, argv, environ, file))) for o in cls.options()}
        return cls(**values)

    def public(self) -> dict[str, object]:
        """Return option name -> value for logs and pages: numbers, booleans, None or text, no secrets."""
        return {o.key: self._shown(o) for o in self.options()}

    def secrets(self) -> tuple[str, ...]:
        """Return the secrets that are set, in every form that a text may have them; for `gobbler.logs.hide`.

        A secret's published default is none: hiding it would only blot out ordinary words.
        """
        values = ((o, getattr(self, o.name)) for o in self.options() if o.secret)
        secret = [value for o, value in values if value and value != o.kind.read(o.default)]
        return tuple(form for value in secret for form in _forms(value))

    def _shown(self, option: Option) -> object:
        value = getattr(self, option.name)
        if option.secret:
            return "***" if value else ""
        return value if isinstance(value, bool | int | float | None) else _written(value)

    def __repr__(self) -> str:
        """Show every option; a secret as `***`."""
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.public().items())})"


def _written(value: object) -> str:
    """Write a value as it is given."""
    if isinstance(value, bytes):
        return value.hex()
    return ",".join(value) if isinstance(value, tuple) and type(value) is tuple else str(value)


def _forms(value: object) -> tuple[str, ...]:
    """Return what a value may look like in a text; bytes in hexadecimal and as Python writes them."""
    if isinstance(value, bytes):
        return value.hex(), value.hex().upper(), repr(value)[2:-1]
    return (_written(value),)


def shorten(text: str) -> str:
    """Cut a text that is too long for an error line."""
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def _given(
    option: Option, argv: Mapping[str, object], environ: Mapping[str, str], file: File
) -> Iterator[tuple[Option, str, str]]:
    """Yield (option, text, where it came from), the strongest source first; the default is always there.

    The option is a secret one where its source is.
    """
    value = argv.get(option.name)
    if value is not None:
        yield option, str(value).lower() if isinstance(value, bool) else str(value), "the command line"
    if option.env in environ:
        yield option, environ[option.env], f"environment {option.env}"
    for also in option.also:
        # Others set these variables, so an empty one means "not given", never "".
        if text := environ.get(also.variable):
            yield from _also_given(replace(option, secret=option.secret or also.secret), also, text)
    if option.key in file.values:
        yield option, file.text(option), f"file {file.name}"
    yield option, option.default, "the default"


def _also_given(option: Option, also: Also, text: str) -> Iterator[tuple[Option, str, str]]:
    where = f"environment {also.variable}"
    try:
        translated = also.translate(text)
    except ValueError as error:
        raise option.refused(text, str(error), where) from None
    if translated is not None:
        yield option, translated, where
