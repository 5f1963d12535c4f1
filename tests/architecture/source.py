"""The modules of `gobbler` as these tests see them: found by walking the folder, read as syntax trees."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function


@dataclass(frozen=True)
class Import:
    """One imported name: `from a import b` is `a.b`, whether b is a module or not."""

    target: str
    line: int


@dataclass(frozen=True)
class Module:
    """One file. `name` is dotted; that of a package is the name of its folder."""

    name: str
    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def parents(self) -> list[str]:
        """The packages whose `__init__` runs before this module does."""
        parts = self.name.split(".")
        return [".".join(parts[:n]) for n in range(1, len(parts))]

    def imports(self) -> Iterator[Import]:
        """Every import, wherever it stands: in a function and for the type checker too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (Import(alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self._absolute(node)
                yield from (Import(f"{base}.{alias.name}", node.lineno) for alias in node.names)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.name.split(".") if self.is_package else self.name.split(".")[:-1]
        base = package[: len(package) - node.level + 1]
        return ".".join([*base, node.module] if node.module else base)

    def functions(self) -> Iterator[tuple[str, Function]]:
        """Every function and method with its name for messages; nested ones too."""
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield f"{self.name}:{node.lineno} {node.name}", node


@cache
def modules() -> dict[str, Module]:
    """Dotted name -> module, of everything in the package `gobbler`."""
    found = (Module(_name(path), path) for path in sorted((ROOT / "gobbler").rglob("*.py")))
    return {module.name: module for module in found}


@cache
def dependencies() -> dict[str, dict[str, int]]:
    """Module -> the project's modules that it imports -> the first line that does.

    Importing `gobbler.a.b` runs `gobbler.a` first, so it counts as well.
    """
    return {name: _project_imports(module) for name, module in modules().items()}


def _project_imports(module: Module) -> dict[str, int]:
    lines: dict[str, int] = {}
    for found in module.imports():
        for name in _modules_of(found.target):
            lines.setdefault(name, found.line)
    lines.pop(module.name, None)
    return lines


def _modules_of(target: str) -> Iterator[str]:
    """The project's modules that an import of `target` runs: itself if it is one, and its packages."""
    parts = target.split(".")
    names = (".".join(parts[:n]) for n in range(1, len(parts) + 1))
    return (name for name in names if name in modules())


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def matches(name: str, pattern: str) -> bool:
    """`a.b` matches itself, `a.b.*` the package a.b and everything in it."""
    room = pattern.removesuffix(".*")
    return name == room or (room != pattern and name.startswith(room + "."))


def body_lines(function: Function, lines: list[str]) -> int:
    """How long a function is: the lines of its body that are not blank, without its docstring.

    Comments and nested functions count; the signature, however long, does not.
    """
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 0
    return sum(bool(line.strip()) for line in lines[body[0].lineno - 1 : body[-1].end_lineno])


def expect_none(found: Iterable[str], problem: str) -> None:
    """Fail with every finding on a line of its own."""
    if lines := list(found):
        pytest.fail("\n    ".join([f"{problem}:", *lines]), pytrace=False)
