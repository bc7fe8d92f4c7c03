"""Side-by-side measurements; `python -m bench NAME` runs one and writes a dated file below bench/results."""
