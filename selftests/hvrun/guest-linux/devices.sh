# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
# For commands in a Linux guest: how to find devices.

# disk NAME: the one that the launcher calls so
disk() {
	local serial
	for serial in /sys/block/vd*/serial; do
		if [ "$(cat "$serial")" = "$1" ]; then
			serial=${serial%/serial}
			echo "/dev/${serial##*/}"
			return
		fi
	done
	echo "no disk $1" >&2
	return 1
}

# interrupts NAME: how many a device has had
interrupts() {
	awk -v name="$1" '$NF == name { for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i }
		END { print sum + 0 }' /proc/interrupts
}

# tools COMMAND...: one of the test host's, from the disk "tools"
tools() {
	if [ ! -e /tools ]; then
		mkdir /tools
		mount -t ext4 -o ro "$(disk tools)" /tools
		mount -o bind /dev /tools/dev
	fi
	chroot /tools "$@"
}
