"""Pictures as PNG: the timeline of a run, the curves of a sweep, the roadmap.

In: timelines, records and studies. Out: PNG files, each whole or absent.
"""
