"""How near an answer is to the truth: what the recipes and the quality bench count alike."""
