"""Records of runs, and results that are computed from records alone.

In: the outcome of an experiment, or stored `record.json` files. Out: typed records, speed-ups
between comparable runs, and the distance to the target realtime factor.
"""
