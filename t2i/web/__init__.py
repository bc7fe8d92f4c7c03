"""The model for people: a page in the browser, an HTTP endpoint beside it, and a line in the terminal."""
