"""A simulated NPU behind the pyxrt API, in virtual integer nanoseconds."""
