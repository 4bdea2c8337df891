"""Results from many runs: the roadmap of phases, what depends on assumed numbers, the best knobs.

In: stored records, or a configuration to vary. Out: typed tables that `report` formats.
"""
