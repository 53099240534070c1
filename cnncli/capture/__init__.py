"""Any torch module as the small graph that `analysis` works on."""
