"""Inputs of kernels, and the expected outputs that the kernels' references compute from them.

In: kernel specs, audio, files of arrays or a seed. Out: packed tiles, chains, expected outputs.
"""
