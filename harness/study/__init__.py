"""Results from many runs: roadmap, what depends on assumed numbers, fitted profiles, best knobs.

In: stored records, or a configuration to vary. Out: typed tables that `report` formats.
"""
