"""What can be requested: schemas of devices, strategies, workloads and the rest, each key with
meaning and limits.

In: YAML presets of `conf/` and overrides, as the command line takes them. Out: a `Config`, frozen
and checked, or a RequestError that says what was given, what is allowed and what to do.
"""
