"""Plans a run before it starts: moments, kernel plans, and what they need of the machine. Pure."""
