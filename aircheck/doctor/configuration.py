"""What the operator wrote: packs and tokens."""

from __future__ import annotations

from aircheck.doctor.result import Result, fault, note, ok
from aircheck.gateway.access import Access, TokenFileError
from aircheck.policy.errors import PolicyError
from aircheck.policy.service import PolicyService
from aircheck.settings import Settings


def packs(settings: Settings) -> Result:
    """The policy packs, read as the server reads them."""
    try:
        PolicyService(settings.policy_dir)
    except (PolicyError, OSError) as error:
        return fault("policy packs", str(settings.policy_dir), str(error))
    names = ", ".join(sorted(path.stem for path in settings.policy_dir.glob("*.yaml")))
    return ok("policy packs", f"{names} ({settings.policy_dir})")


def door(settings: Settings) -> Result:
    """Who can reach the server, and what they must show."""
    try:
        Access(settings.tokens_file)
    except TokenFileError as error:
        return fault("door", f"host {settings.host}", str(error))
    shown = "TLS" if settings.tls_certificate else "no TLS"
    shown += ", tokens" if settings.tokens_file else ", no tokens"
    if settings.behind_mesh and not settings.is_loopback():
        remedy = "see to it that nothing but the mesh reaches this port (docs/operations.md)"
        return note("door", f"host {settings.host}, {shown}: something else encrypts and authenticates", remedy)
    return ok("door", f"host {settings.host}, {shown}")
