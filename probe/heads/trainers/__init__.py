"""How each kind of head is scored and fitted, many at a time."""
