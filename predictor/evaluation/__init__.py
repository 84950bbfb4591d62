"""How good forecasts are on what training has not seen."""
