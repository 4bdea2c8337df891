"""`python -m harness.commands.doctor`: whether runs on the hardware can work here, and what is missing."""
