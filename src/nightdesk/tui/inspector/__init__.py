"""What the inspector says about an exchange: one module for each page, pure functions of the exchange and a setting."""
