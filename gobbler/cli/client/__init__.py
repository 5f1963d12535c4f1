"""`gobbler-cli`: the client's command.

Exit status: 0 when all was done, 1 when the server refused something or a check failed, 2 for wrong usage,
3 without a connection to the server, 4 when something did not come in time, 130 after Ctrl+C, 141 when
nobody reads the output any more.

It has to start fast: what is heavy, the client library above all, is imported where it is used.
"""

from gobbler.cli.client.command import main

__all__ = ["main"]
