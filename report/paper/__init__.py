"""The paper: its published numbers, read again and put beside ours."""
