"""`harness doctor`: reports whether runs on the hardware can work here, and what is missing.

In: the request, and the machine. Out: a line for each check, with its remedy.
"""
