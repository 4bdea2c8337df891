"""Neural networks as kernel calls: which calls of which kernels compute a Whisper encoder.

In: the sizes of an encoder and the tiles that kernels compute. Out: operations with their calls,
work and padding; the data of one layer passed through its calls, and a reference for its result.
"""
