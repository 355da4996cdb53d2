"""What listens: webhook receivers and the API. Calls system only."""
