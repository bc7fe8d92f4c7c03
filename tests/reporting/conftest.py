"""The browser in which pages are looked at."""

from ..web.conftest import browser

__all__ = ["browser"]
