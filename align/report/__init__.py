"""What a run looked like, as one HTML page."""

from align.report.page import write
from align.report.read import ReportError

__all__ = ["ReportError", "write"]
