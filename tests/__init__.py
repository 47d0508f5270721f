"""The tests, in folders by room of the package.

`cli web doctor savers sessions outage database runs sql titles embedded` hold the tests of the
room of that name; what is about the whole package, its ground or its documents lies here. Files
are named by subject and have at most some 400 lines. Modules without `test_` are what tests share:
those of several rooms lie here, those of one room in its folder, fixtures in a `conftest.py`.

`doors` holds a table of all ways to a thread, and has everybody try them; `fuzzing` draws what is
given to whatever takes input; `model` holds a model of the contract, which random histories compare
with both savers.

A test's name states a fact, such as `test_a_refused_run_changes_nothing`; its docstring says in one
sentence what that means. Most take a fixture of `conftest.py`: `chat` talks to a saver, once to the
sync and once to the async one, and `db` looks at the tables. Plans are played without any of that:
`plans.play` gives one its answers, and says what it asked, returned or raised.

    pytest -m "not server"    what starts no server and no process: some 15 seconds, to run always
    pytest tests/outage       a room
    pytest                    all but the long ones, a worker with a server of its own for each core
    pytest -m browser         pages in a real browser; skipped where there is none
    pytest -m long            the full number of rounds, before a release

`server` is set by itself on what uses a fixture that starts one (`STARTING` in `conftest.py`), and
by hand where there is none. A test without it that starts a process or connects fails: `guard.py`.
LANGGRAPH_SESSIONS_TEST_URL names a server to be used in place of one that is started,
LANGGRAPH_SESSIONS_POSTGRES_BIN the programs of another PostgreSQL to start,
LANGGRAPH_SESSIONS_TEST_PGBOUNCER sends connections through a PgBouncer, and
LANGGRAPH_SESSIONS_TEST_ISOLATION=serializable makes all databases so strict by default.
With LANGGRAPH_SESSIONS_TEST_PARTITIONS=4, LangGraph's tables have so many partitions.
With LANGGRAPH_SESSIONS_CITUS_URL, the address of a Citus coordinator (version 13; a PostgreSQL with
the extension, and workers added by citus_add_node; wal_level=logical, and max_worker_processes=100,
of which each database takes one), they are distributed over its nodes; what is marked `one_server`
is left out, and says why. Where a server is stopped, a gate before the coordinator is shut:
`gate.py`.
`.ci/run` runs all that a change must pass; `.ci/rows`, which it calls, the core's on PostgreSQL 15
to 17, on other Pythons and on the lowest versions of what is depended on.
"""
