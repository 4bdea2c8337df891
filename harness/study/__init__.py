"""Results from many runs: the roadmap of phases, and what depends on assumed numbers.

In: stored records, or a configuration to vary. Out: typed tables that `report` formats.
"""
