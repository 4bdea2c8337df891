"""The machine around an NPU: locks, power mode, driver files, xrt-smi.

In: the index of a device. Out: locks between processes, a power mode held during a run, and
readings of the machine's state before and after the run.
"""
