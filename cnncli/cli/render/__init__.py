"""Tables, progress and messages on the terminal: the only package that imports rich."""
