"""MLflow as an index of records.

In: a record and its files. Out: an MLflow run with its params, metrics, tags and artifacts.
"""
