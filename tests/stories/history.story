Who applied what when; and what a watch that does not run answers.

  $ cp -r "$QUICKSTART" net
  $ cnm history
  $ cnm apply --yes -q net
  $ cnm destroy --yes -q
  $ cnm history | cut -c23-34
  apply    cnm
  destroy  cnm
  $ cnm history --last 1 --json | grep purpose
        "purpose": "destroy",
  $ cnm status --follow
  error: no watch of this owner runs on this host; start one: cnm watch
  [1]
  $ cnm watch -
  error: standard input cannot be watched: name files or folders
  [1]
  $ cnm watch net --mode sometimes
  error: --mode sometimes: write one of observe, heal, apply
  [1]
