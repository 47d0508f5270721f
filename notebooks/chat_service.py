"""A chat service: pip install fastapi uvicorn, then uvicorn chat_service:app."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse, StreamingResponse
from langgraph.types import Command
from pydantic import BaseModel
from langgraph_sessions import AsyncSessionSaver, ConcurrentRunError, Session
from langgraph_sessions import SessionError, SessionNotFoundError, SessionPage
from langgraph_sessions.offline import chat_graph, chat_model

@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with AsyncSessionSaver() as saver:  # DATABASE_URL, else an embedded PostgreSQL
        app.state.graph, app.state.sessions = chat_graph(chat_model()[0], saver), saver.sessions
        yield

def signed_in(x_user: Annotated[str | None, Header()] = None) -> str:
    if not x_user:  # The header X-User: set it where you check who is signed in.
        raise HTTPException(401, "nobody is signed in")
    return x_user

async def refused(_: object, error: Exception) -> JSONResponse:
    missing, busy = (isinstance(error, e) for e in (SessionNotFoundError, ConcurrentRunError))
    status = 404 if missing else 409 if busy else 503 if isinstance(error, SessionError) else 422
    return JSONResponse({"detail": "no such session" if missing else str(error)}, status)

REFUSED = dict.fromkeys((SessionError, ValueError, TypeError), refused)
app = FastAPI(lifespan=lifespan, exception_handlers=REFUSED)
User = Annotated[str, Depends(signed_in)]

class Message(BaseModel):
    text: str = ""
    answer: Any = None  # Not a text, but what a graph that interrupts has asked for.
    thread_id: str | None = None
    new_session: bool = False

@app.post("/chat")
async def chat(sent: Message, user: User) -> StreamingResponse:
    where = sent.model_dump(include={"thread_id", "new_session"})
    config = await app.state.sessions.run_config(user, **where)  # 404 before the stream begins
    said = {"messages": [sent.text]} if sent.answer is None else Command(resume=sent.answer)
    if sent.answer is not None and not (await app.state.graph.aget_state(config)).interrupts:
        raise HTTPException(409, "nothing waits for an answer")

    async def events() -> AsyncIterator[str]:
        yield event("session", {"thread_id": config["configurable"]["thread_id"]})
        try:
            async for chunk, _ in app.state.graph.astream(said, config, stream_mode="messages"):
                yield event("message", chunk.text)
            for asked in (await app.state.graph.aget_state(config)).interrupts:
                yield event("question", {"id": asked.id, "value": asked.value})
        except SessionError as error:
            yield event("error", type(error).__name__)
    return StreamingResponse(events(), media_type="text/event-stream")

def event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"

@app.get("/sessions")
async def sessions(user: User, cursor: str | None = None, title: str | None = None) -> SessionPage:
    return await app.state.sessions.list_sessions(user, cursor=cursor, title=title)

@app.get("/sessions/{thread_id}")
async def messages(thread_id: str, user: User) -> list[dict[str, str]]:
    said = await app.state.sessions.get_messages(user, thread_id)
    return [{"role": message.type, "text": message.text} for message in said]

@app.patch("/sessions/{thread_id}")
async def change(thread_id: str, updates: dict[str, Any], user: User) -> Session:
    return await app.state.sessions.update_session(user, updates, thread_id=thread_id)

@app.delete("/sessions/{thread_id}", status_code=204)
async def delete(thread_id: str, user: User) -> None:
    await app.state.sessions.delete_session(user, thread_id)
