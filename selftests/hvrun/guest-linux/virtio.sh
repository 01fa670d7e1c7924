# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
# For commands in a Linux guest: its virtio drivers and the transport.

for module in /modules/*; do
	insmod "$module"
done
insmod /virtio_hcall.ko
# shellcheck source=selftests/hvrun/guest-linux/devices.sh
. /devices.sh

# rebind DRIVER [COMMAND]: take its device away from a driver and give it back, 100 times, each time with
# COMMAND after that
rebind() {
	local driver=/sys/bus/virtio/drivers/$1 device i
	device=$(basename "$driver"/virtio*)
	for i in $(seq 100); do
		echo "$device" >"$driver/unbind"
		[ ! -e "$driver/$device" ]
		usleep $((i % 7 * 1000))
		echo "$device" >"$driver/bind"
		[ -e "$driver/$device" ]
		eval "${2-}"
		usleep $((i % 5 * 3000))
	done
	echo "$i times"
}
