"""Experiment harness for NPU pipelines: one code path over real and simulated hardware."""

__version__ = "0.1.0"
