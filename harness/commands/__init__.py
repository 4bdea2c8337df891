"""The command line: `harness <command>` parses arguments, calls the packages below, prints and exits.

A command is a module here with a line of `HELP` and a function `main(arguments) -> exit code`;
`main.py` finds it by its name. Nothing outside this package prints.
"""
