"""The page: sentence, figures and tables of a study as one HTML file."""
