"""Figures and the report page: plain arrays and numbers in, PNG files and one HTML file out."""
