"""The inputs of kernels, and the outputs that their references expect.

In: kernel specs, an audio file or a seed. Out: packed tiles, chains of kernels, expected outputs.
"""
