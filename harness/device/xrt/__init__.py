"""device/xrt."""
