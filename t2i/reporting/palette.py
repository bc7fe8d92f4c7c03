"""The resolution of every figure and its colours, for who draws none, too.

Colours are from Okabe & Ito's palette, which people with colour vision deficiencies can tell apart.
"""

DPI = 150
INK, MUTED, FAINT, PAPER = "#1b1f24", "#5b6470", "#d9dde3", "#ffffff"
BASE, TUNED, REAL, BEST = "#0072b2", "#d55e00", "#00795a", "#d55e00"
OTHERS = ("#7a4b9a", "#8a6d00", "#3f8fc4", "#b0558f", "#4d4d4d")
