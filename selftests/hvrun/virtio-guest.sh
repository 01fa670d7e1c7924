# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Stock Debian kernels as guests of hvrun, with virtio_hcall.ko and their own virtio drivers, for tests
# in bash: source it after linux-guest.sh.

PATH=$PATH:/usr/sbin:/sbin
version=${guests[0]}
limit=90

# A test may have others, see initrd().
more_files() { modules "$1" virtio_blk virtio_net virtio_input virtio-rng ext4 evdev; }

# guest STATUS [OPTIONS...]: boot it, and run the commands of stdin there, under set -e, after those of
# guest-linux/virtio.sh
guest() {
	local status=$1 ramdisk=$PWD/ramdisk
	shift
	mkdir -p commands
	{ echo . /virtio.sh; cat; } >commands/commands
	initrd "$version"
	{ pack commands; cat "$dir/initrd-$version"; } >"$ramdisk"
	boot "$status" "$version" "$@" -- panic=-1 -- sh -e /commands
}

sum() { sha256sum | cut -d ' ' -f 1; }
random() { head -c "$1" /dev/urandom >"$2"; }

# repeat COMMAND: in the background until the test ends, as the guest may be started more than once
repeat() {
	setsid bash -c "while sleep 0.1; do $1; done" >/dev/null 2>&1 &
	repeated+=($!)
	trap cleanup EXIT
}
repeated=()
cleanup() {
	trap - ERR
	for pid in "${repeated[@]}"; do
		kill -- "-$pid" 2>/dev/null || kill "$pid" 2>/dev/null || :
	done
	ip link del hcall-virtio 2>/dev/null || :
}

# guest 10.77.0.2 -- tap -- 10.77.0.1, this host, which in a test host is for us alone
tap_options=() # of ip tuntap
network() {
	modprobe tun
	trap cleanup EXIT
	ip tuntap add hcall-virtio mode tap "${tap_options[@]}"
	ip address add 10.77.0.1/24 dev hcall-virtio
	ip link set hcall-virtio up
}
net=--net=n0=tap:hcall-virtio,mac=02:00:00:00:00:77
# shellcheck disable=SC2016 # for the guest
set_up='
	interface=$(basename /sys/class/net/e*)
	ip address add 10.77.0.2/24 dev $interface
	ip link set $interface up
'
