"""Many runs by one command: planned, launched, skipped, resumed, searched for and accounted for."""
