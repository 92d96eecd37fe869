"""From the studio to the world: photographs of things, and what is behind them."""
