"""Any torch module as the graph that `inspection` measures."""
