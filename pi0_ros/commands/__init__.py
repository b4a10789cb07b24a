"""The subcommands of `pi0`, one module each: `add_parser(subparsers)` and `run(args) -> int`."""
