# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# KTAP for tests in bash: source it, define functions test_NAME, and call
# ktap_run PREFIX [NAME...]; names may have the prefix that they have in the output.
# A test is a subshell under set -e; what it prints is shown if it fails.  If there is a function skip_NAME and it prints a reason,
# the test is skipped.

same() { # same GOT WANTED [WHAT]
	[ "$1" = "$2" ] || { echo "${3-}: '$1' is not '$2'"; return 1; }
}

# expect STATUS PATTERN COMMAND...: run it, and require its exit status and a
# line of its output that matches the extended regular expression.
expect() {
	local want=$1 pattern=$2 status=0 output
	shift 2
	output=$("$@" 2>&1) || status=$?
	if [ "$status" != "$want" ]; then
		echo "'$*' exited with $status, not $want; it said: $output"
		return 1
	fi
	if ! grep -Eq -- "$pattern" <<<"$output"; then
		echo "'$*' said nothing like '$pattern', but: $output"
		return 1
	fi
}

ktap_run() {
	local prefix=$1 number=0 failed=0 name log why
	shift
	# shellcheck disable=SC2046 # names are words
	[ $# != 0 ] || set -- $(declare -F | sed -n 's/^declare -f test_//p')
	log=$(mktemp)
	echo "KTAP version 1"
	echo "1..$#"
	for name; do
		name=${name#"$prefix."}
		number=$((number + 1))
		why=$(! declare -F "skip_$name" >/dev/null || "skip_$name" || :)
		if [ -n "$why" ]; then
			echo "ok $number $prefix.$name # SKIP $why"
			continue
		fi
		# Not in a condition: there set -e would not hold.  A process group of its own,
		# so that nothing is left of it that would disturb the next ones.
		set -m
		( set -eEuo pipefail
		  trap 'echo "failed: $BASH_COMMAND (line $LINENO)"' ERR
		  "test_$name" ) >"$log" 2>&1 </dev/null &
		set +m
		if wait $!; then
			echo "ok $number $prefix.$name"
		else
			for _ in {1..100}; do
				kill -KILL -- -$! 2>/dev/null || break
				sleep 0.1
			done
			sed 's/^/# /' "$log"
			echo "not ok $number $prefix.$name"
			failed=1
		fi
	done
	rm "$log"
	return $failed
}
