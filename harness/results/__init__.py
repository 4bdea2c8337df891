"""What a run leaves behind: its record, and what follows from records alone.

In: the outcome of an experiment, or stored `record.json` files. Out: typed records, speed-ups
between runs that may be compared, and the distance to the target realtime factor.
"""
