"""What is computed: encoder, decoder steps, token rules, fallback, segments and words."""
