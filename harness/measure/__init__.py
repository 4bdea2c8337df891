"""Arithmetic on timelines: totals, bounds, metrics and statistics.

In: the time stamps of a pass. Out: metrics under the names that every record uses.
Pure: it knows neither devices nor configuration nor records, so a stored timeline gives the same.
"""
