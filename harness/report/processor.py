"""The lines below a table about the processor that has run in place of an NPU."""

from __future__ import annotations

from harness.results.record import Record


def processor_lines(record: Record) -> list[str]:
    """What the times of a run on device=cpu are times of, and what shares the processor."""
    processor = record.machine.before.processor if record.machine else None
    if processor is None:
        return ["device=cpu: times and RTF are of this machine's processor, not of an NPU"]
    count = len(processor.allowed)
    processors = f"{count} processor{'s' * (count != 1)}{', pinned' * processor.pinned}"
    lines = [
        "device=cpu: times and RTF are of this machine's processor, not of an NPU: "
        f"{processor.model or record.environment.machine}, {processors}"
    ]
    if processor.compiler:
        lines.append(f"C++ by {processor.compiler} {processor.flags}")
    by_numpy = [name for name, program in processor.programs.items() if program == "numpy"]
    if by_numpy:
        names = ", ".join(by_numpy)
        lines.append(f"{names}: no C++ in kernels/, so numpy executes its reference")
    # Columns that the contexts occupied, or of the strategy if nothing was timed.
    columns = record.totals.columns if record.totals else record.knobs.columns
    if columns + 1 > count:
        threads = f"{columns} column{'s' * (columns != 1)}"
        lines.append(f"{threads} and the host share {processors}")
    return lines
