"""The subcommands of `sam-perception`, one module each, with `add_parser` and `run`."""
