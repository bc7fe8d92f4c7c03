"""Pictures of any origin in a folder: what they were made from, and which of two folders belong together."""
