About this program and this host.

  $ cnm version
  cnm {version}
  $ cnm --version
  cnm {version}
  $ COLUMNS=100 cnm --help
  Usage: cnm [OPTIONS] COMMAND [ARGS]...
  
    Container networks, declared: write manifests, read the plan, apply it, keep it so.
  
  Options:
    --version             Print the version.
    --install-completion  Install completion for the current shell.
    --show-completion     Show completion for the current shell, to copy it or customize the
                          installation.
    -h, --help            Show this message and exit.
  
  Plan and change:
    plan      Show what apply would change, and who gains or loses reach by it.
    diff      The plan in short: a line a resource and field.
    apply     Make this host as the manifests say, and verify.
    adopt     Take over objects that stand in our way.
    destroy   Remove everything of this owner from this host.
    recover   Undo a run that was interrupted, or finish it.
    try       Apply, and go back unless somebody confirms.
    confirm   Keep a change that `cnm try` has on trial on this host.
  
  Keep it so:
    watch     Keep this host as the manifests say.
  
  Look:
    status    What holds of each network, sandbox, endpoint and BGP session.
    history   Who applied what when.
    show      What this host has of ours, or all it has.
    explain   Everything about one thing, or about one way.
    reach     Who reaches whom: the matrix of all endpoints.
    graph     The manifests as a picture: Mermaid, DOT or SVG.
    exec      Run a command inside a sandbox.
  
  Manifests:
    validate  Check the manifests, without a look at any host.
    lock      Store automatic addresses in the lock file.
    schema    JSON Schemas of the manifests, for editors.
  
  This host, this program:
    doctor    What this host can do, and what is missing.
    version   The version of cnm.
  
    Exit status: 0 in sync, 1 error, 2 changes pending, 3 and 4 failed, 5 stale plan or locked, 6
    conflict.
  $ COLUMNS=100 cnm exec --help
  Usage: cnm exec [OPTIONS] {SANDBOX} {COMMAND...}
  
    Run a command inside a sandbox.
  
    Its exit status is ours; 127: there is no such command, 126: it cannot be run. Manifests are
    needed only for a sandbox that is not a named namespace (path, pid, docker, container, host).
  
  Arguments:
    SANDBOX     Name of the sandbox.  [required]
    COMMAND...  What to run, after --.  [required]
  
  Options:
    -m, --manifests PATH  Files and folders, - for standard input. Default: as for plan.
    --node NAME           Which Node of the manifests this host is. Default: its hostname.
    --env NAME            Apply the Patch documents of this environment too.
    --owner NAME          Whose mark our objects carry. Others are not touched.  [default: cnm]
    --state-dir FOLDER    Folder of inventory and lock. Default: /run/cnm.
    -h, --help            Show this message and exit.
  $ cnm doctor | tr -s ' ' | grep -E '^[a-z]+ (kernel|privileges|nftables|netlink|inventory|driver (bridge|none)) '
  ok kernel Linux {kernel}
  ok privileges CAP_NET_ADMIN and CAP_SYS_ADMIN
  ok nftables nft is installed
  ok driver bridge a Linux bridge a network, a veth pair an endpoint, NAT to the outside
  ok driver none a stack of its own with loopback only
  ok netlink {pid} of {pid} links decoded as pyroute2 {version} does
  ok inventory /run/cnm/cnm-{host}.json: 0 namespaces of ours
  $ cnm doctor --json | head -n7
  {
    "format": "cnm-doctor",
    "format_version": 1,
    "checks": [
      {
        "subject": "kernel",
        "level": "ok",
  $ unshare --user cnm doctor | tr -s ' ' | grep -E '^[a-z]+ (privileges|driver (bridge|none)) '
  error privileges no CAP_NET_ADMIN and no CAP_SYS_ADMIN; remedy: run cnm as root
  error driver bridge cannot be tried without privileges; remedy: run cnm as root
  ok driver none a stack of its own with loopback only

Schemas for editors:

  $ cnm schema Network | head -n4
  {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "network.json",
    "title": "cnm Network",
  $ cnm schema --dir out; ls out
  acifabric.json
  addressset.json
  bgpconfiguration.json
  bgppeer.json
  cnm.json
  contract.json
  endpoint.json
  endpointgroup.json
  ippool.json
  namespace.json
  network.json
  networkpolicy.json
  node.json
  patch.json
  policy.json
  profile.json
  sandbox.json
  tenant.json
  tier.json
  $ cnm schema Netwrok
  error: there is no kind Netwrok; there are: acifabric, addressset, bgpconfiguration, bgppeer, cnm, contract, endpoint, endpointgroup, ippool, namespace, network, networkpolicy, node, patch, policy, profile, sandbox, tenant, tier
  [1]

Completion of commands and options, in bash, zsh and fish:

  $ _CNM_COMPLETE=source_bash cnm | tail -n1
  $ _CNM_COMPLETE=source_zsh cnm | head -n1
  $ _CNM_COMPLETE=source_fish cnm | cut -c1-18
  complete --command
  $ _CNM_COMPLETE=complete_bash COMP_WORDS='cnm p' COMP_CWORD=1 cnm
  plan
  $ _CNM_COMPLETE=complete_bash COMP_WORDS='cnm apply --t' COMP_CWORD=2 cnm
  --target

Pictures:

  $ cp -r "$QUICKSTART" net
  $ cnm graph net
  flowchart LR
    n_back[["back<br>bridge<br>10.77.2.0/24<br>fd77:0:0:2::/64"]]
    n_front[["front<br>bridge<br>10.77.1.0/24<br>fd77:0:0:1::/64"]]
    s_api("api")
    s_db("db")
    s_proxy("proxy")
    s_web("web")
    s_api ---|"eth0 10.77.2.2, fd77:0:0:2::2"| n_back
    s_db ---|"eth0 10.77.2.53, fd77:0:0:2::53"| n_back
    s_proxy ---|"eth0 10.77.2.3, fd77:0:0:2::3"| n_back
    s_proxy ---|"eth1 10.77.1.2, fd77:0:0:1::2"| n_front
    s_web ---|"eth0 10.77.1.3, fd77:0:0:1::3"| n_front
  $ cnm graph --format dot net
  graph cnm {
    rankdir=LR;
    node [fontname=Helvetica];
    "network back" [shape=box label="back\nbridge\n10.77.2.0/24\nfd77:0:0:2::/64"];
    "network front" [shape=box label="front\nbridge\n10.77.1.0/24\nfd77:0:0:1::/64"];
    "sandbox api" [shape=ellipse label="api"];
    "sandbox db" [shape=ellipse label="db"];
    "sandbox proxy" [shape=ellipse label="proxy"];
    "sandbox web" [shape=ellipse label="web"];
    "sandbox api" -- "network back" [label="eth0\n10.77.2.2, fd77:0:0:2::2"];
    "sandbox db" -- "network back" [label="eth0\n10.77.2.53, fd77:0:0:2::53"];
    "sandbox proxy" -- "network back" [label="eth0\n10.77.2.3, fd77:0:0:2::3"];
    "sandbox proxy" -- "network front" [label="eth1\n10.77.1.2, fd77:0:0:1::2"];
    "sandbox web" -- "network front" [label="eth0\n10.77.1.3, fd77:0:0:1::3"];
  }
  $ cnm graph --format svg net | head -n1 | cut -c1-40
  <svg xmlns="http://www.w3.org/2000/svg"
  $ cnm graph --format svg net | python3 -c 'import sys, xml.etree.ElementTree as xml; xml.fromstring(sys.stdin.read())'
  $ cnm graph --format png net
  error: --format png: write one of mermaid, dot, svg
  [1]
