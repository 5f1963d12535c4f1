"""`gobbler-cli completion`: what a shell needs to complete verbs and options."""

from __future__ import annotations

from typing import Final

import click

from gobbler.cli.client.output import NAME, Output
from gobbler.cli.client.setup import Documented

VARIABLE: Final = "_GOBBLER_CLI_COMPLETE"
SHELLS: Final = ("bash", "zsh", "fish")


@click.command(
    "completion",
    cls=Documented,
    short_help="Print a script that has the shell complete.",
    examples=(
        'bash, in ~/.bashrc:        eval "$(gobbler-cli completion bash)"',
        'zsh, in ~/.zshrc:          eval "$(gobbler-cli completion zsh)"',
        "fish, in its config.fish:  gobbler-cli completion fish | source",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS), metavar="bash|zsh|fish")
def command(shell: str) -> None:
    """Print a script that has the shell complete verbs and options with Tab."""
    from click.shell_completion import get_completion_class

    root = click.get_current_context().find_root().command
    made = get_completion_class(shell)
    if made is not None:
        Output().line(made(root, {}, NAME, VARIABLE).source().strip())
