"""callboard."""
