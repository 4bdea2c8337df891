"""The kernels' arithmetic written a second time: `plain` in Python's integers, `exact` in float64."""
