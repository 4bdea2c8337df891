"""Devices that execute kernels.

In: the configuration of a device and kernel specs. Out: a backend whose sessions and slots the
executors drive without knowing which device it is.
"""
