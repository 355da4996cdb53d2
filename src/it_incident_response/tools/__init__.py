"""What agents may call. Tools see ports, never adapters."""
