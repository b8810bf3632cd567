"""What our trainers share: the base class, losses, schedules, variants by length."""
