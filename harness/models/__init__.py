"""Networks as calls of kernels: Whisper's encoders, their operations, and one layer with its data.

In: the sizes of an encoder and the kernels that it is cut into. Out: operations with their calls and work; the bytes
that a layer's calls take and return, with weights and a reference of the result.
"""
