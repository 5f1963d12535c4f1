"""The router: messages come in, are committed together, and go out to whom they concern."""
