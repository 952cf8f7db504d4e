"""Settings of the property tests of the quality bench."""

from hypothesis import settings

# No deadline: how long an example takes says how busy the machine is, not whether the property holds.
settings.register_profile("quality", deadline=None, max_examples=60)
settings.load_profile("quality")
