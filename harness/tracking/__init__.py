"""Stores records in MLflow, to search and compare them; `record.json` stays the original.

In: a record and its files. Out: an MLflow run with its params, metrics, tags and artifacts.
"""
