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
