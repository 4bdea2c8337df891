"""The command line: `harness <command>` parses arguments, calls the packages below, prints, exits.

A command is a module here with a line of `HELP` and a function `main(arguments) -> exit code`;
`main.py` finds it by its name. Nothing outside this package prints.
In: the command line. Out: text on the terminal, files in `outputs/`, an exit code.
"""
