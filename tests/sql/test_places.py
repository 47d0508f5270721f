"""Tenants set apart by `search_path`: their tables are in its first schema, and nobody else's are.

Each way to set one is tried with a schema of the tenant's before one that all of them have.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from langgraph_sessions import AsyncSessionSaver, SessionError, SessionSaver
from langgraph_sessions.doctor import visit
from langgraph_sessions.sql.place import TABLES
from tests.support import Chat, config, graph_builder, psycopg_pool_options, texts

pytestmark = pytest.mark.direct("it lends connections with the search path of others")

Db = psycopg.Connection[Any]
TENANTS = ("first", 'Of "two", x')


@pytest.fixture
def db(empty_url: str) -> Iterator[Db]:
    """A connection to a database with the tenants' schemas, in which nothing is."""
    with psycopg.connect(empty_url, **psycopg_pool_options()) as db:
        for tenant in TENANTS:
            db.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(tenant)))
        yield db


def path(schema: str) -> str:
    """Return a search path with *schema* before what all have."""
    return sql.SQL("{}, public").format(sql.Identifier(schema)).as_string()


def leading(url: str, schema: str) -> str:
    """Return *url* with that search path."""
    escaped = path(schema).replace(" ", "\\ ")
    return make_conninfo(url, options=f"-csearch_path={escaped}")


def places(db: Db) -> set[tuple[str, str]]:
    """Return the schemas and names of all tables of both packages'."""
    rows = db.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE tablename = ANY (%s)", [list(TABLES)]
    )
    return {(row["schemaname"], row["tablename"]) for row in rows}


def talk(saver: SessionSaver, text: str) -> list[str]:
    """Have alice say *text*, and return all of her conversation."""
    graph = graph_builder().compile(checkpointer=saver)
    return texts(graph.invoke({"messages": [text]}, config(user_id="alice")))[::2]


def by_url(stack: ExitStack, url: str, schema: str) -> SessionSaver:
    return stack.enter_context(SessionSaver(leading(url, schema)))


def by_configure(stack: ExitStack, url: str, schema: str) -> SessionSaver:
    def configure(conn: Db) -> None:
        conn.execute("SELECT set_config('search_path', %s, FALSE)", [path(schema)])

    options = {"autocommit": True}
    pool = ConnectionPool[Any](url, kwargs=options, configure=configure, open=True)
    return SessionSaver(stack.enter_context(pool))


def by_role(stack: ExitStack, url: str, schema: str) -> SessionSaver:
    role = sql.Identifier(f"r{uuid.uuid4().hex}")
    db = stack.enter_context(psycopg.connect(url, autocommit=True))
    db.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
    stack.callback(db.execute, sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(role))
    place = sql.Identifier(schema)
    db.execute(sql.SQL("ALTER ROLE {} SET search_path = {}, public").format(role, place))
    db.execute(sql.SQL("GRANT ALL ON SCHEMA {}, public TO {}").format(place, role))
    return stack.enter_context(SessionSaver(make_conninfo(url, user=role.as_string()[1:-1])))


WAYS = [by_url, by_configure, by_role]


@pytest.mark.parametrize("way", WAYS)
def test_tenants_share_nothing(
    way: Callable[[ExitStack, str, str], SessionSaver], empty_url: str, db: Db
) -> None:
    """Tables are looked for, and made, in the first schema alone, also where public has some."""
    with ExitStack() as stack:
        common = stack.enter_context(SessionSaver(empty_url))
        assert talk(common, "of public") == ["of public"]
        for tenant in TENANTS:
            saver = way(stack, empty_url, tenant)
            assert talk(saver, tenant) == [tenant]
            assert talk(saver, "more") == [tenant, "more"]
            (session,) = saver.sessions.list_sessions("alice")
            assert (session.title, saver.sessions.count_sessions()) == (tenant, 1)
        assert common.sessions.count_sessions() == 1
        assert places(db) == {(s, table) for s in (*TENANTS, "public") for table in TABLES}


async def test_the_async_savers_tenants_share_nothing(empty_url: str, db: Db) -> None:
    """So it is with the async saver, on its own pool and on one with `configure`."""

    async def configure(conn: psycopg.AsyncConnection[Any]) -> None:
        await conn.execute("SELECT set_config('search_path', %s, FALSE)", [path("first")])

    options = {"autocommit": True}
    async with (
        AsyncSessionSaver(leading(empty_url, TENANTS[1])) as saver,
        AsyncConnectionPool[Any](empty_url, kwargs=options, configure=configure) as pool,
    ):
        for each in (saver, AsyncSessionSaver(pool)):
            await Chat(each).say("mine", user_id="alice")
            assert await each.sessions.count_sessions() == 1
    assert {schema for schema, _ in places(db)} == set(TENANTS)


def test_langgraphs_tables_further_on_are_not_taken(empty_url: str, db: Db) -> None:
    """Where a plain saver has made its tables in public, a tenant gets its own."""
    with PostgresSaver.from_conn_string(empty_url) as plain:
        plain.setup()
    with SessionSaver(leading(empty_url, "first")) as saver:
        assert talk(saver, "mine") == ["mine"]
    assert {("first", table) for table in TABLES} <= places(db)
    assert db.execute("SELECT FROM public.checkpoints").fetchall() == []


def test_the_schema_of_the_users_name_comes_before_public(empty_url: str, db: Db) -> None:
    """By `"$user", public`, PostgreSQL's default: public unless the role has a schema."""
    with SessionSaver(empty_url) as saver:
        assert talk(saver, "in public") == ["in public"]
        (row,) = db.execute("SELECT current_user::text AS role")
        db.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(row["role"])))
        assert talk(saver, "still") == ["in public", "still"]
    with SessionSaver(empty_url) as saver:
        assert talk(saver, "in one's own") == ["in one's own"]
    assert {schema for schema, _ in places(db)} == {"public", row["role"]}


def test_a_tenant_without_its_schema_is_not_led_to_everybodys(empty_url: str, db: Db) -> None:
    """A schema that the search path names first, and that is not there, is an error."""
    for auto_setup in (True, False):
        with SessionSaver(leading(empty_url, "third"), auto_setup=auto_setup) as saver:
            with pytest.raises(SessionError, match="'\"third\", public' begins with a schema"):
                talk(saver, "mine")
            with pytest.raises(SessionError, match="begins with a schema"):
                saver.setup()
    assert places(db) == set()
    (finding,) = visit.visit(leading(empty_url, "third"), [])
    assert (finding.check, finding.is_problem) == ("search-path", True)


def test_a_tenant_whose_schema_is_dropped_is_led_nowhere(empty_url: str, db: Db) -> None:
    """A saver at work on it does not go on with the tables of public, old connection or new."""
    with SessionSaver(empty_url) as common, SessionSaver(leading(empty_url, "first")) as saver:
        talk(common, "of public")
        talk(saver, "mine")
        db.execute("DROP SCHEMA first CASCADE")
        with pytest.raises(psycopg.errors.UndefinedTable):
            saver.sessions.list_sessions("alice")
        with pytest.raises(psycopg.errors.UndefinedTable):
            talk(saver, "more")
        saver._database.conn.drain()  # type: ignore[union-attr]
        with pytest.raises(SessionError, match=r"in the schema 'first', but .* leads to 'public'"):
            talk(saver, "more")
        assert talk(common, "more") == ["of public", "more"]


def test_a_pool_whose_connections_lead_to_different_places_is_refused(
    empty_url: str, db: Db
) -> None:
    """A connection that leads to another tenant's tables than the first did is not used."""
    schemas = iter([*TENANTS])

    def configure(conn: Db) -> None:
        conn.execute("SELECT set_config('search_path', %s, FALSE)", [path(next(schemas))])

    options = {"autocommit": True}
    for tenant in TENANTS:
        with SessionSaver(leading(empty_url, tenant)) as saver:
            saver.setup()
    with ConnectionPool[Any](
        empty_url, kwargs=options, configure=configure, min_size=1, max_size=2
    ) as pool:
        pool.wait()  # Else it grows for whoever asks before the first connection is there.
        sessions = SessionSaver(pool).sessions
        sessions.create_user_session("alice")
        with pool.connection(), pytest.raises(SessionError, match="search_path leads to"):
            sessions.count_sessions()


def test_a_path_that_changes_under_way_is_noticed(empty_url: str, db: Db) -> None:
    """From PostgreSQL 18 on the server tells of it; a connection that leads back is used again."""
    if db.info.server_version < 180000:
        pytest.skip("the server does not tell")
    with psycopg.connect(empty_url, autocommit=True) as conn:
        saver = SessionSaver(conn)
        talk(saver, "mine")
        conn.execute("SET search_path = first, public")
        with pytest.raises(SessionError, match=r"in the schema 'public', but .* leads to 'first'"):
            talk(saver, "more")
        conn.execute("RESET search_path")
        assert talk(saver, "more") == ["mine", "more"]


def test_temporary_tables_hide_nothing(empty_url: str, db: Db) -> None:
    """A connection with a temporary table of such a name is refused, also before the set-up."""
    with psycopg.connect(empty_url, autocommit=True) as conn:
        conn.execute("CREATE TEMP TABLE user_sessions (id INT)")
        conn.execute("CREATE TEMP TABLE checkpoint_migrations (v INT)")
        with SessionSaver(empty_url) as saver:
            talk(saver, "mine")
        with pytest.raises(SessionError, match=r"hidden .* checkpoint_migrations"):
            talk(SessionSaver(conn), "more")


def test_the_doctor_looks_at_the_first_schema_and_tells_of_the_others(
    empty_url: str, db: Db
) -> None:
    """What others have further on is not taken for ours; who may create there is noted."""
    with SessionSaver(empty_url) as saver:
        talk(saver, "of public")
        migrations = saver.MIGRATIONS
    (finding, *_) = visit.visit(leading(empty_url, "first"), migrations)
    assert (finding.check, finding.is_problem) == ("schema-old", True)
    with SessionSaver(leading(empty_url, "first")) as saver:
        saver.setup()
    (note,) = visit.visit(leading(empty_url, "first"), migrations)
    assert (note.check, note.which) == ("table-elsewhere", ["public"])
    db.execute("DROP TABLE first.session_users; GRANT CREATE ON SCHEMA public TO PUBLIC")
    found = visit.visit(leading(empty_url, "first"), migrations)
    assert [f.which for f in found if f.check == "table-missing"] == [["session_users"]]
    with SessionSaver(leading(empty_url, 'Of "two", x')) as saver:
        saver.setup()
    found = visit.visit(leading(empty_url, 'Of "two", x'), migrations)
    assert [(f.check, f.which) for f in found] == [
        ("schema-open", ["PUBLIC"]),
        ("table-elsewhere", ["public"]),
    ]
