"""The schema of a request: one dataclass per group of configuration keys.

In: YAML presets and overrides, composed by Hydra. Out: a checked, immutable `Config`, or an error
of one line with the key, the value, what is allowed and the nearest valid name.
"""
