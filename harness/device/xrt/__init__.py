"""The backend for XRT; the same code runs on the real pyxrt and on the simulated one.

In: a pyxrt namespace, its clock, and the files of kernels. Out: sessions (a kernel on one hardware
context per column) and slots (the bos and runs of one submission).
"""
