"""An experiment from its config: data, network, training, and what a run writes while it trains."""
