"""`python -m gobbler.cli.client`: the client's command."""

from gobbler.cli.client.command import main

main()
