"""Routing: the right model for the task, inside a budget, learnt from the user's own outcomes."""
