"""One HTML page about a run or a sweep, which needs no other file and no network.

In: records, their traces and comparisons. Out: the text of the page; nothing here writes files.
"""
