"""One experiment: verification with poisoned outputs, warm-up, timed passes, a verdict.

In: a `Config`. Out: the verdict and its reason, the timed passes, and the machine's state.
"""
