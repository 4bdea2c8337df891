"""Computes totals, bounds, metrics and statistics from timelines.

In: the time stamps of a pass. Out: metrics under the names that every record uses. The functions
are pure and use neither devices nor configuration nor records, so a stored timeline gives the same
results as the run itself.
"""
