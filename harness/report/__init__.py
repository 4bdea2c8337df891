"""Pictures of records and timelines: the terminal's table and the Perfetto trace."""
