"""The kernels' arithmetic, written again: `plain` in Python's integers, `exact` in float64."""
