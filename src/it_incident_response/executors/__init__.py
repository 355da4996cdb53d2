"""What carries out typed actions on real systems; the only code that changes anything outside."""
