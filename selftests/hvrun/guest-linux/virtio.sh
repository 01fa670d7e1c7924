# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
# For commands in a Linux guest: its virtio drivers and the transport.

for module in /modules/*; do
	insmod "$module"
done
insmod /virtio_hcall.ko
# shellcheck source=selftests/hvrun/guest-linux/devices.sh
. /devices.sh
