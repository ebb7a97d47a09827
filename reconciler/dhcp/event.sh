#!/bin/sh
# What udhcpc tells: $1 is deconfig, bound, renew, nak or leasefail; the lease is in variables (busybox's udhcpc).
# Addresses and routes carry protocol dhcp: they are not cnm's, which neither compares nor removes them.
set -eu
metric=100 # a default route that a manifest asks for has none, and wins

forget() { # "FIB table does not exist" where there was no route yet
    ip -4 route flush dev "$interface" proto dhcp 2>/dev/null || true
}

gone() {
    # The release that was just sent waits for the server's hardware address, and the interface may go next.
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -e "$CNM_LEASE" ] && ip -4 neighbour show dev "$interface" nud incomplete | grep -q . || break
        sleep 0.05
    done
    forget
    ip -4 address flush dev "$interface" dynamic 2>/dev/null || true
    rm -f "$CNM_LEASE"
}

hold() {
    # First of all: whoever finds an address finds from whom it is.
    umask 022
    for name in ip mask lease router dns domain staticroutes ntpsrv serverid hostname; do
        eval "value=\${$name:-}"
        [ -z "$value" ] || printf '%s="%s"\n' "$name" "$(printf %s "$value" | tr -d '"\\$`\n')"
    done >"$CNM_LEASE.new"
    mv "$CNM_LEASE.new" "$CNM_LEASE"
    ip -4 address replace "$ip/$mask" dev "$interface" valid_lft "$lease" preferred_lft "$lease"
    forget
    if [ -n "${staticroutes:-}" ]; then # RFC 3442: then the router option is not looked at
        set -- $staticroutes
        while [ $# -ge 2 ]; do
            case $2 in
            0.0.0.0) ip -4 route replace "$1" dev "$interface" proto dhcp metric $metric ;;
            *) ip -4 route replace "$1" via "$2" dev "$interface" proto dhcp metric $metric onlink ;;
            esac
            shift 2
        done
    else
        for hop in ${router:-}; do
            ip -4 route replace default via "$hop" dev "$interface" proto dhcp metric $metric onlink
            break
        done
    fi
}

case $1 in
deconfig) gone ;;
bound | renew) hold ;;
leasefail | nak) echo "no lease: $1 ${message:-}" ;;
esac
