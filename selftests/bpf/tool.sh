# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the tests of the eBPF tools have in common.

# Until a tool sits in poll(), as it does once its programs are attached: what is
# loaded, and holds the module, is not attached yet.
await_tool() { # await_tool PID
	local call
	for _ in {1..600}; do
		read -r call _ <"/proc/$1/syscall" || return 1
		[ "$call" != 7 ] || return 0
		sleep 0.1
	done 2>/dev/null
	echo "process $1 does not wait"
	return 1
}

# Until nobody has programs for the module any more.  The BPF core lets go of them a
# moment after their loader has ended.
await_unused() {
	for _ in {1..100}; do
		[ "$(cat /sys/module/kvm_hcall/refcnt)" != 0 ] || return 0
		sleep 0.1
	done
	echo "the module's programs stay"
	return 1
}

# Linux 7.2 skips a tracepoint's program that is in the middle of another call on that
# CPU, and the tool tells how often: what was seen and what is told lost are together
# what there was.
lost_of() { # lost_of FILE: what a tool tells there, with --json or on standard error
	local told='events were lost|calls were not counted'
	echo $(($(sed -nE "s/^\{\"lost\":([0-9]+)\}\$/\1/p; s/^hcall[a-z]+: ([0-9]+) ($told): .*/\1/p" "$1" |
		paste -sd +) + 0))
}

# What is not to be exact in sum only is run again, until nothing is lost.
complete() { # complete FILE COMMAND...: FILE is for lost_of
	local told=$1
	shift
	for _ in {1..5}; do
		rm -f console # which selftests/tracing/calls appends to
		"$@" || return
		[ "$(lost_of "$told")" != 0 ] || return 0
	done
	cat "$told"
	return 1
}
