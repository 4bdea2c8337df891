"""What a request may say: a dataclass for each group of configuration keys.

In: YAML presets and overrides, composed by Hydra. Out: a checked, immutable `Config`, or one line
that names the key, the value, what is allowed and the nearest valid name.
"""
