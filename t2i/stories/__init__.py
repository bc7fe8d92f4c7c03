"""What a run tells of itself: sections, tables and figures."""
