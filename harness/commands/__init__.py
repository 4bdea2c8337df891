"""`harness <command>`: parse the arguments, call the packages below, print, return an exit code.

In: the command line. Out: text on the terminal, files in `outputs/`, an exit code.
"""
