"""Networks that read pictures and texts, and how pictures are brought to their size."""
