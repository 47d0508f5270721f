"""What our savers cost, beside LangGraph's own and beside what people write by hand.

    python -m tests.benchmark [--quick] [--only NAME]… [--json FILE] [--database URL]
    python -m tests.benchmark --only scale --sessions 1000000 --limit 900
    python -m tests.benchmark --citus URL

Everything in ten minutes, or with `--quick` the main rows in one. Each value is a median of
rounds in which all take turns; a ratio is of the same rounds, and ± says how far from it the
truth may lie, 95 times in 100. The machine's load stands beside each table. One user's CPU bears
it: a saver measured against itself is within 0.03 of 1 at a load of 17. Many users' does so
badly, and turns a second, which are of wall time, mean little on a machine that has other work.

The server is the embedded one's, or that of `--database`: on this machine, where databases may
be made. What plans SQL anew each time costs more on an older one, so see 15, too:

    postgres=/usr/lib/postgresql/15/bin folder=$(mktemp -d) && chown postgres "$folder"
    as() { runuser -u postgres -- "$postgres/$@"; }
    as initdb -D "$folder/data" -A trust -U postgres -E UTF8 --locale C
    options="-k $folder -c listen_addresses= -c fsync=off -c max_connections=200"
    as pg_ctl start -D "$folder/data" -l "$folder/log" -o "$options"
    python -m tests.benchmark --database "host=$folder user=postgres dbname=postgres"
    as pg_ctl stop -D "$folder/data" && rm -r "$folder"

With `--citus`, a coordinator whose workers are added, turns are timed there on tables over 32 and
over 128 shards, and among many sessions; the same server, without Citus, stands beside them.

`entrants` says who is compared, and `lanes` how their savers are opened and have turns; `work` is
what a turn does. `rounds` has the entrants take turns, and `meters` reads what a round cost. The
measures themselves stand in `measures`. Only what the package exports is used of it, so that its
inside can change under the benchmark. It needs Linux, which says what a process's CPU is.
"""
