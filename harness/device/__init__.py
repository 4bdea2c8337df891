"""Devices that execute kernels.

In: the configuration of a device, and kernel specs. Out: a backend with sessions and slots, which
the executor uses in the same way for every device.
"""
