"""A simulated machine with an NPU, behind the API of pyxrt 2.25.

In: a device profile and calls of the pyxrt API. Out: outputs, states and errors as XRT gives them,
a trace in nanoseconds, and a report of every hazard in the use of buffers.
"""
