"""Model families: one file each behind the interface of `family.py`, and their list in `registry.py`."""
