"""TensorBoard: event files, points for its projector, and its server as a process."""
