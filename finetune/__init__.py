"""End-to-end training of backbone and head."""
