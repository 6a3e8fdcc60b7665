#!/bin/sh
# One job, several machines, nothing but etcdctl: whoever creates the key works, and the key lives
# only as long as its worker. Start it twice, with different names, and kill one of the two.
#
#   examples/cron.sh anna        (ETCDCTL_ENDPOINTS names the server, 127.0.0.1:2379 if unset)
set -eu
export ETCDCTL_API=3
name=${1:?usage: cron.sh NAME}
key=/cron/jobs/job02
told=

while :; do
    lease=$(etcdctl lease grant 5 | cut -d' ' -f2)
    answer=$(
        etcdctl txn <<END
create("$key") = "0"

put $key $name --lease=$lease

get $key

END
    )
    case $answer in
    SUCCESS*)
        echo "$name works on job02"
        # From here on this process is the renewal: when it dies, the lease runs out.
        exec etcdctl lease keep-alive "$lease"
        ;;
    esac
    holder=$(echo "$answer" | tail -n 1)
    [ "$holder" = "$told" ] || echo "$name waits, job02 is held by $holder"
    told=$holder
    etcdctl lease revoke "$lease" >/dev/null
    sleep 1
done
