"""A config carried out: data, network and training put together, and what a run writes while it trains."""
