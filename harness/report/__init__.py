"""What people look at: tables, pictures, progress bars and Perfetto traces.

In: records, timelines and studies. Out: text, PNG and JSON; nothing here prints.
"""
