"""Errors of the policy layer; each message names the offending thing and the remedy."""


class PolicyError(ValueError):
    """A policy pack, or something handed to the policy, is not what it must be."""


class UnknownPackError(PolicyError):
    """A request names a pack that the library does not hold."""


class RequestError(PolicyError):
    """An input of one request to the policy model cannot be used."""
