"""Helpers that several tests share; no test file imports from another."""
