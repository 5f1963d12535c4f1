"""The commands: each module is one, with a `main`."""
