"""What people look at: tables, pictures, pages, progress bars and Perfetto traces.

In: records, timelines and studies. Out: text, PNG, HTML and JSON; nothing here prints.
"""
