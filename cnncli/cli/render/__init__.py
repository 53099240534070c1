"""Tables, progress and messages on the terminal: the only room that knows rich."""
