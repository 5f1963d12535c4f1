"""Small functions and small modules (the design: House style)."""

from statistics import median

from tests.architecture.source import Module, body_lines, expect_none, modules

MEDIAN_FUNCTION = 7
LONG_FUNCTION = 25
LONGEST_FUNCTION = 50
SHARE_BELOW_LONG = 0.9

MEDIAN_MODULE = 150
LONGEST_MODULE = 500


def function_sizes() -> dict[str, int]:
    """Function -> body lines; what only declares (nothing but a docstring or `...`) is left out."""
    sizes = {
        place: body_lines(function, module.lines)
        for module in modules().values()
        for place, function in module.functions()
    }
    return {place: size for place, size in sizes.items() if size}


def module_sizes() -> dict[str, int]:
    """Module -> all its lines; packages that only have a docstring are left out."""
    return {name: len(module.lines) for name, module in modules().items() if holds_code(module)}


def holds_code(module: Module) -> bool:
    return len(module.tree.body) > 1


def longer_than(sizes: dict[str, int], limit: int) -> list[str]:
    """The names of what is longer, each with its size, the longest first."""
    found = [(size, name) for name, size in sizes.items() if size > limit]
    return [f"{name}: {size} lines" for size, name in sorted(found, reverse=True)]


def test_no_function_is_too_long() -> None:
    expect_none(longer_than(function_sizes(), LONGEST_FUNCTION), f"over {LONGEST_FUNCTION} lines")


def test_nine_of_ten_functions_are_short() -> None:
    sizes = function_sizes()
    long = longer_than(sizes, LONG_FUNCTION - 1)
    if len(long) > (1 - SHARE_BELOW_LONG) * len(sizes):
        expect_none(long, f"more than a tenth of {len(sizes)} functions is not under {LONG_FUNCTION} lines")


def test_the_median_function_is_small() -> None:
    assert median(function_sizes().values()) <= MEDIAN_FUNCTION


def test_no_module_is_too_long() -> None:
    expect_none(longer_than(module_sizes(), LONGEST_MODULE), f"over {LONGEST_MODULE} lines")


def test_the_median_module_is_small() -> None:
    sizes = module_sizes()
    if (middle := median(sizes.values())) > MEDIAN_MODULE:
        expect_none(longer_than(sizes, MEDIAN_MODULE), f"the median module has {middle} lines")
