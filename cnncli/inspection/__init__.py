"""What a network costs and what each of its layers can see, worked out without running it."""
