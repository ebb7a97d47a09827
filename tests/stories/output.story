For people, for reviews and for programs.

  $ cat >net.yaml <<'END'
  > apiVersion: cnm/v1alpha1
  > kind: Sandbox
  > metadata: {name: s}
  > END
  $ cnm plan net.yaml
  Sandbox/s  net.yaml:1
      + netns/s
  Plan: 1 to create.
  [2]
  $ cnm plan -q net.yaml
  [2]
  $ cnm plan -v net.yaml 2>/dev/null
  Sandbox/s  net.yaml:1
      + netns/s
  Plan: 1 to create.
  [2]
  $ cnm plan --json net.yaml | grep -E '^  "'
    "format": "cnm-plan",
    "format_version": 1,
    "owner": "cnm",
    "node": "rack1",
    "desired_fingerprint": "sha256:{hash}",
    "observed_fingerprint": "sha256:{hash}",
    "summary": {
    "stages": [
    "drift": [],
    "pending": [],
    "conflicts": [],
    "warnings": []
  $ cnm plan --markdown net.yaml
  ### cnm plan on `rack1`
  
  **Plan: 1 to create.**
  
  <details><summary>Sandbox/s (net.yaml:1): 1 create</summary>
  
  | | resource | change | impact |
  |---|---|---|---|
  | `+` | `netns/s` |  |  |
  
  </details>
  [2]
  $ cnm plan --markdown -o review.md -q net.yaml; head -n1 review.md
  ### cnm plan on `rack1`

Colours are for a terminal, and for those who want them.

  $ script -qec 'cnm plan net.yaml' /dev/null | cat -v
  ^[[1mSandbox/s^[[0m^[[1;2m  net.yaml:1^[[0m^M
  ^[[32m    + ^[[0m^[[39mnetns/s^[[0m^M
  ^[[1mPlan: 1 to create.^[[0m^M
  $ NO_COLOR=1 script -qec 'cnm plan net.yaml' /dev/null | cat -v
  Sandbox/s  net.yaml:1^M
      + netns/s^M
  Plan: 1 to create.^M

There it asks, and only yes is yes.

  $ (sleep 1; echo n) | NO_COLOR=1 script -E never -qec 'cnm apply net.yaml; echo "status $?"' /dev/null | tr -d '\r'
  Sandbox/s  net.yaml:1
      + netns/s
  Plan: 1 to create.
  Go ahead? [y/N]: nothing was changed
  status 2
  $ (sleep 1; echo y) | NO_COLOR=1 script -E never -qec 'cnm apply net.yaml; echo "status $?"' /dev/null | grep -ao '\[y/N\]\|Done:.*verified\|status .'
  [y/N]
  Done: 1 step in {seconds} s, verified
  status 0
  $ cnm apply --yes --json net.yaml
  {
    "format": "cnm-report",
    "format_version": 1,
    "ok": true,
    "done": [],
    "failed": [],
    "skipped": [],
    "left": [],
    "reason": "",
    "rollback": null,
    "seconds": {},
    "plan": {
      "format": "cnm-plan",
      "format_version": 1,
      "owner": "cnm",
      "node": "rack1",
      "desired_fingerprint": "",
      "observed_fingerprint": "",
      "summary": {
        "create": 0,
        "update": 0,
        "recreate": 0,
        "delete": 0,
        "adopt": 0
      },
      "stages": [],
      "drift": [],
      "pending": [],
      "conflicts": [],
      "warnings": []
    }
  }
  $ cnm status --json net.yaml
  {
    "format": "cnm-status",
    "format_version": 1,
    "owner": "cnm",
    "node": "rack1",
    "in_sync": true,
    "rows": [
      {
        "kind": "Sandbox",
        "name": "s",
        "state": "ok",
        "reasons": [],
        "facts": {
          "stack": "netns"
        },
        "origin": {
          "file": "net.yaml",
          "line": 1,
          "column": 1,
          "document": "Sandbox/s"
        }
      }
    ],
    "surplus": [],
    "warnings": [],
    "partial": []
  }
  $ cnm destroy --yes -v 2>/dev/null
  to be destroyed
      - netns/s
  Plan: 1 to delete.
  Done: 1 step in {seconds} s, verified.
  {times}

What comes from the kernel cannot speak to a terminal.

  $ ip link add "$(printf 'e\033[31mvil')" type bridge
  $ cnm show --observed | grep -o '^link/e.*vil'
  link/e\x1b[31mvil
  $ ip link delete "$(printf 'e\033[31mvil')"
