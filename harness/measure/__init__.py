"""Computes totals, bounds, metrics and statistics from timelines, and predicts times from costs.

In: the time stamps of a pass, or the costs of its calls. Out: metrics under the names that every
record uses, or the times of the pass. The functions are pure and use neither devices nor
configuration nor records, so a stored timeline gives the same results as the run itself.
"""
