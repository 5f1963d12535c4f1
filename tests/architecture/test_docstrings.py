"""Every public name says what it is, and what it raises (the design: House style)."""

import ast
from collections.abc import Iterator

from tests.architecture.source import Documented, Function, Module, expect_none, modules


def public(module: Module) -> Iterator[tuple[str, Documented]]:
    """The module, its public functions and classes, and their public members, all the way down."""
    yield module.name, module.tree
    yield from _members(module.name, module.tree)


def _members(place: str, owner: ast.Module | ast.ClassDef) -> Iterator[tuple[str, Documented]]:
    for node in owner.body:
        if isinstance(node, ast.ClassDef | Function) and _is_public(node.name):
            yield f"{place}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from _members(f"{place}.{node.name}", node)


def _is_public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def raises(function: Function) -> bool:
    """Whether the function itself raises an error of its choice; a bare `raise` hands one on."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Raise) and node.exc is not None:
            return True
        if not isinstance(node, Function | ast.Lambda | ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(node))
    return False


def documentation(node: Documented) -> str:
    return (ast.get_docstring(node) or "").lower()


def everything() -> Iterator[tuple[str, Documented]]:
    for module in modules().values():
        yield from public(module)


def test_every_public_name_has_a_docstring() -> None:
    expect_none((place for place, node in everything() if not documentation(node)), "without a docstring")


def test_what_raises_says_so() -> None:
    silent = (
        place
        for place, node in everything()
        if isinstance(node, Function) and raises(node) and "raise" not in documentation(node)
    )
    expect_none(silent, "raise errors, but have no `Raises:` in their docstrings")
