"""Who is signed in: whom the bearer token names, with another name to be shown."""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> Auth.types.MinimalUserDict:
    """Return the user whom the token names."""
    kind, _, name = (authorization or "").partition(" ")
    if kind != "Bearer" or not name:
        raise Auth.exceptions.HTTPException(status_code=401, detail="no token")
    return {"identity": name, "display_name": name.title()}


@auth.on
async def own(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """Let everybody have their own threads alone."""
    if isinstance(value, dict):
        value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}
