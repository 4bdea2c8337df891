"""The command line: `harness <command>` parses, calls the packages below, prints, exits.

A command is a module here with a line of `HELP` and a function `main(arguments) -> exit code`;
`main.py` finds it by its name. Nothing outside this package prints.
"""
