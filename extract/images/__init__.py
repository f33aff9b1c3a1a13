"""Images: from a file to the square of pixels that a backbone sees."""
