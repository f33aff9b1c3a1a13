"""Statistics: metrics, intervals and comparisons; they know nothing of what shows them."""
