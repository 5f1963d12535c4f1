"""`python -m gobbler`: the server."""

from gobbler.cli.server import main

main()
