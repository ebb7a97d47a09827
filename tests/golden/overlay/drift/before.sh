# What others do to the tables: a tunnel endpoint that is wrong, a learned entry, one too many, a neighbour that is wrong.
mac=$(ip neighbour show 10.5.0.3 dev br-app | cut -d' ' -f3)
bridge fdb replace "$mac" dev vx-4096 dst 192.0.2.66 self static
bridge fdb replace "$mac" dev vx-4096 master dynamic
bridge fdb add 02:00:00:00:00:99 dev vx-4096 dst 192.0.2.66 self permanent
ip neighbour replace fd05::3 dev br-app lladdr 02:00:00:00:00:99 nud reachable
