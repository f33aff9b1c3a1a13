"""The doctor: what works here, and what to install."""
