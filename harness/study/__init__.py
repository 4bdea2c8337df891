"""Results from many runs: comparisons, roadmap, effect of assumed numbers, profiles, best knobs.

In: stored records, or a configuration to vary. Out: typed tables that `report` formats.
"""
