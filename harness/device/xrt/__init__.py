"""The backend for XRT: the same lines drive the real pyxrt and the simulated one.

In: a pyxrt namespace, its clock, and the files of kernels. Out: sessions (a kernel on a hardware
context per column) and slots (the bos and runs of one submission).
"""
