"""A page-view counter with a live page: a real program made of structmode's services.

    python -m examples.pageviews --backend trio

The tree, in the order in which it starts (and stops in reverse):

    PageViews               app.py        the program
    ├── Store               store.py      SQLite, in a thread: what is in it survives
    ├── Counter             counter.py    counts in memory, saved every half second
    ├── Visitors            visitors.py   who has been seen in the last 30 seconds
    ├── History             history.py    views per second and per minute
    ├── Live                live.py       what the page shows, four times a second
    └── Web                 web.py        HTTP: site.py says what it answers, page.html is the page

The promise: a view that was answered with 200 is in the database when the program has ended, whether by SIGTERM,
Ctrl-C or the crash of a service. If the database can't be written until the very end, the log names each view that
was lost, and the exit code is 1. Only a killed process or a dead machine may take the last half second with it; who can't
have even that sends `until=saved`, and is answered when the view is in the database.
"""
