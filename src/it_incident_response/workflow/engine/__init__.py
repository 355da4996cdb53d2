"""How the durable engine is reached: its settings, the embedded server, connections, encryption."""
