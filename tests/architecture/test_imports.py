"""Imports point down, never in a circle, and pure modules are pure (the design: The rooms)."""

import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.architecture.source import ROOT, dependencies, expect_none, matches, modules

# From the bottom to the top. A module may import from its own layer and from those before it.
# `a.b.*` is the package a.b with everything in it; the most exact row that fits a module counts.
LAYERS: dict[str, tuple[str, ...]] = {
    "errors": ("gobbler", "gobbler.errors"),
    "pure": (
        "gobbler.protocol.*",
        "gobbler.websocket",
        "gobbler.websocket.frames",
        "gobbler.store",
        "gobbler.store.index",
        "gobbler.store.live_index",
        "gobbler.store.sealed_index",
        "gobbler.store.filelog",
        "gobbler.store.filelog.layout",
        "gobbler.store.filelog.recovery",
        "gobbler.kvstore",
        "gobbler.database_url",
        "gobbler.text",
        "gobbler.reporting",
        "gobbler.reporting.events",
        "gobbler.connectors",
        "gobbler.connectors.outcome",
        "gobbler.connectors.fcm",
        "gobbler.connectors.fcm.payload",
        "gobbler.connectors.fcm.older",
        "gobbler.connectors.fcm.request",
        "gobbler.connectors.fcm.legacy_request",
        "gobbler.connectors.fcm.template",
        "gobbler.connectors.fcm.reply",
        "gobbler.connectors.fcm.answer",
        "gobbler.connectors.fcm.legacy_answer",
        "gobbler.connectors.fcm.retry_after",
        "gobbler.connectors.subscription",
        "gobbler.connectors.position",
        "gobbler.connectors.registry",
        "gobbler.connectors.lane",
        "gobbler.connectors.backoff",
        "gobbler.connectors.breaker",
        "gobbler.connectors.apns",
        "gobbler.connectors.apns.payload",
        "gobbler.connectors.sms",
        "gobbler.connectors.sms.payload",
        "gobbler.connectors.sms.answer",
        "gobbler.connectors.sms.encoding",
        "gobbler.connectors.sms.signature",
        "gobbler.connectors.sms.bucket",
        "gobbler.connectors.sms.receipt",
        "gobbler.connectors.sms.recent",
    ),
    # Usable without the server: it knows what is below it, and nothing else of the project.
    "client": ("gobbler.client.*",),
    # Its command likewise, and it has to start fast.
    "client command": ("gobbler.cli", "gobbler.cli.client.*"),
    "basics": (
        "gobbler.kinds",
        "gobbler.options",
        "gobbler.config",
        "gobbler.logs",
        "gobbler.metrics",
        "gobbler.service",
        "gobbler.health",
        "gobbler.patching",
        "gobbler.profiling",
        "gobbler.storage",
    ),
    "seams": (
        "gobbler.store.base",
        "gobbler.kvstore.base",
        "gobbler.connectors.base",
        "gobbler.reporting.base",
    ),
    "fcm": ("gobbler.connectors.fcm.*",),
    "apns": ("gobbler.connectors.apns.*",),
    "sms": ("gobbler.connectors.sms.*",),
    "reporting": ("gobbler.reporting.*",),
    "key-value stores": ("gobbler.kvstore.*",),
    "message stores": ("gobbler.store.*",),
    "router": ("gobbler.router.*",),
    "connectors": ("gobbler.connectors.*",),
    "doors": ("gobbler.websocket.*", "gobbler.rest.*", "gobbler.admin.*"),
    "server": (
        "gobbler.app",
        "gobbler.connecting",
        "gobbler.handler",
        "gobbler.listener",
        "gobbler.server",
        "gobbler.wsgi",
    ),
    "commands": ("gobbler.cli.*", "gobbler.__main__"),
}

# Layers that could be imported by their place, but are only known through the seams.
BEHIND_A_SEAM: dict[str, tuple[str, ...]] = {
    "apns": ("fcm",),
    "sms": ("fcm", "apns"),
    "message stores": ("key-value stores",),
    "connectors": ("fcm", "apns", "sms", "key-value stores", "message stores", "reporting"),
    "router": ("key-value stores", "message stores"),
    "doors": ("key-value stores", "message stores", "fcm", "apns", "reporting"),
}

# What no module of a layer may import; each name stands for the package with everything in it.
WEB = ("flask", "werkzeug", "geventwebsocket")
SERVER = ("gobbler.store", "gobbler.kvstore", "gobbler.reporting", "gobbler.connectors")
IMPURE = ("gevent", "greenlet", "socket", "logging", "time", *WEB)
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "errors": IMPURE,
    "pure": IMPURE,
    "client": ("gevent", "greenlet", *WEB, *SERVER),
    "client command": ("gevent", "greenlet", *WEB, *SERVER),
    "seams": WEB,
    "key-value stores": WEB,
    "message stores": WEB,
    "fcm": WEB,
    "apns": WEB,
    "sms": WEB,
    "reporting": WEB,
    "connectors": (*WEB, "gobbler.websocket"),
    "router": (*WEB, "gobbler.websocket"),
}

PURE_LAYERS = ("errors", "pure")
# Not `time`: it is a part of the interpreter and always there.
NEVER_LOADED_BY_PURE = ("gevent", "flask", "socket", "logging")

HOMELESS = "no layer"
LEVEL = {layer: level for level, layer in enumerate([*LAYERS, HOMELESS])}


def layer_of(name: str) -> str:
    """The layer in which the table places a module."""
    rows = [(row, layer) for layer, rows in LAYERS.items() for row in rows if matches(name, row)]
    # `a.b` beats `a.b.*`, and that beats `a.*`.
    return max(rows, key=lambda row: (row[0] == name, len(row[0])), default=("", HOMELESS))[1]


def edges() -> Iterator[tuple[str, str, str]]:
    """(module, module that runs before it, text for a message), of all modules."""
    for name, targets in dependencies().items():
        packages = dict.fromkeys(modules()[name].parents, 1)
        for target, line in (packages | targets).items():
            yield name, target, f"{name}:{line} ({layer_of(name)}) imports {target} ({layer_of(target)})"


def pure_modules() -> list[str]:
    return [name for name in modules() if layer_of(name) in PURE_LAYERS]


def test_every_module_has_a_place() -> None:
    expect_none(
        (name for name in modules() if layer_of(name) == HOMELESS),
        f"put these modules into LAYERS of {__file__}, and what the design forbids them beyond their "
        "place into BEHIND_A_SEAM and FORBIDDEN",
    )


def test_every_row_places_something() -> None:
    rows = [row for rows in LAYERS.values() for row in rows]
    stale = [row for row in rows if not any(matches(name, row) for name in modules())]
    expect_none(stale, "rows of LAYERS that fit no module")


def test_every_folder_is_a_package() -> None:
    folders = {module.path.parent for module in modules().values()}
    expect_none(
        (str(folder) for folder in folders if not (folder / "__init__.py").exists()),
        "folders without __init__.py",
    )


def test_imports_point_down() -> None:
    upward = (text for name, target, text in edges() if LEVEL[layer_of(target)] > LEVEL[layer_of(name)])
    expect_none(upward, "imports that point up")


def test_no_circles() -> None:
    expect_none(circle(), "modules that import each other in a circle")


def circle() -> list[str]:
    graph = {
        # A module does not wait for the packages around it: they may import from their modules.
        name: targets.keys() - set(modules()[name].parents)
        for name, targets in dependencies().items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_what_has_a_seam_is_known_through_it() -> None:
    around = (
        text for name, target, text in edges() if layer_of(target) in BEHIND_A_SEAM.get(layer_of(name), ())
    )
    expect_none(around, "imports of what is only known through its seam")


def test_no_layer_imports_what_is_forbidden_to_it() -> None:
    wrong = (
        f"{name}:{found.line} ({layer_of(name)}) imports {found.target}"
        for name, module in modules().items()
        for found in module.imports()
        if any(matches(found.target, f"{package}.*") for package in FORBIDDEN.get(layer_of(name), ()))
    )
    expect_none(wrong, "forbidden imports")


@pytest.mark.parametrize("name", pure_modules())
def test_pure_modules_load_nothing_impure(name: str) -> None:
    """In a fresh interpreter, where what another module imports cannot hide what this one does."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {name}; "
        f"print(*sys.modules.keys() & {set(NEVER_LOADED_BY_PURE)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
