"""What the store keeps, one file a stage: what it is made from, and how."""
