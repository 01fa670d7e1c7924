# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What of the kernel's memory is in use, before and after many rounds of something: less
# than one object a round may be left behind.
#
# Objects of kmalloc() are counted by size, what is too large for a cache of theirs is in
# SUnreclaim, and vmalloc()'s areas and the memory of per-CPU counters have figures of their
# own.

# left_objects: how many of each size there are.  The slab that a CPU takes objects from, up
# to 512 of 8 bytes, counts as used in any case.  So the caches shrink, which takes it from the
# CPU, and the shell itself looks before a process comes that wants some.  The command to
# shrink is one of 8 bytes, too.
left_objects() {
	local cache line lines fields size
	local -A sum=()
	for cache in /sys/kernel/slab/kmalloc-{*,8}; do
		echo 1 >"$cache/shrink"
	done
	mapfile -t lines </proc/slabinfo
	for line in "${lines[@]}"; do
		[[ $line = kmalloc-* ]] || continue
		read -ra fields <<<"$line"
		size=${fields[0]##*-}
		sum[$size]=$((${sum[$size]-0} + fields[1]))
	done
	for size in "${!sum[@]}"; do
		echo "kmalloc-$size ${sum[$size]}"
	done
}

left_look() { # left_look FILE: what there is now
	{
		left_objects
		# What is free already has its place in the address space for a while.
		echo "vmalloc $(grep -vc 'unpurged vm_area' /proc/vmallocinfo)"
		awk '/^(Percpu|SUnreclaim):/ { print $1 $3, $2 }' /proc/meminfo
	} >"$1"
	sort -o "$1" "$1"
}

# How much more of each may be there: half an object of each round, but a kernel of which
# nobody wants anything has that many more or less, too.
left_margin() { # left_margin WHAT ROUNDS
	local half=$(($2 / 2)) cpus
	cpus=$(getconf _NPROCESSORS_CONF)
	case $1 in
	Percpu:kB)	echo $((half * cpus * 256 / 1024 + 64)) ;;
	SUnreclaim:kB)	echo $((half * 16 + 1024)) ;;
	*)		echo $((half > 64 ? half : 64)) ;;
	esac
}

# What is let go of later (RCU, work) has some time for it.  A look itself leaves an object of
# kmalloc-96 for each cache, which kfree_rcu() takes 5 s to free.
left_nothing() { # left_nothing BEFORE ROUNDS: look again, until it is as before
	local before=$1 rounds=$2 try what was now grown
	for try in {1..4}; do
		left_look "$before.after"
		grown=0
		while read -r what was now; do
			[ $((now - was)) -le "$(left_margin "$what" "$rounds")" ] || {
				grown=1
				[ "$try" != 4 ] || echo "$what: $was before, $now after $rounds rounds"
			}
		done < <(join "$before" "$before.after")
		[ $grown != 0 ] || break
		sleep 6
	done
	join "$before" "$before.after" | awk '{ printf "%s%s %+d", (NR > 1 ? ", " : ""), $1, $3 - $2 }
		END { print "" }'
	return $grown
}
