"""Hypothesis profiles: the ordinary run is quick, `--hypothesis-profile thorough` is deep."""

from hypothesis import HealthCheck, settings

slow_is_fine = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("quick", max_examples=100, deadline=None, suppress_health_check=slow_is_fine)
settings.register_profile("thorough", max_examples=2000, deadline=None, suppress_health_check=slow_is_fine)
settings.load_profile("quick")
