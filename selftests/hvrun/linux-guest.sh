# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# To boot stock Debian kernels as guests of hvrun, for tests in bash: source it in the checkout, after
# ktap.sh.  Their initramfs has busybox and a module (guest-linux/) that reports by calls.
#
# GUESTS="6.12 7.2": those of selftests/kernel for which make host-files-VERSION was done

top=$PWD
hvrun=$top/tools/hvrun/hvrun
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
exec 3>&1 # boot times are shown whether or not a test fails

guests=()
for version in ${GUESTS:-6.12 7.2}; do
	[ ! -e "build/$version/guest-linux/hcall_report.ko" ] || guests+=("$version")
done
[ ${#guests[@]} != 0 ] || { echo "no guest: make host-files-6.12" >&2; exit 4; }
cd "$dir" || exit

# The emulator that the test host runs in delivers an interrupt that VMRUN injects a second time if it
# has to pause before the guest leaves again: a Linux guest, QEMU's as well as hvrun's, then has a timer
# interrupt in the handler of a timer interrupt and spins for a lock that it holds, or, if it has not
# come to SWAPGS yet, ends in a triple fault.  With selftests/host --parallel this is rare.  So there,
# and only there, a boot that ends in neither way is tried again.
tries=1
dmesg | grep -q 'Hypervisor detected' || tries=8
limit=25 # seconds; a boot takes 6 to 15

fail() {
	echo "$*"
	head -c 3000 stdout stderr 2>/dev/null || :
	return 1
}
same() { [ "$1" = "$2" ] || fail "'$1' is not '$2'"; }
has() { grep -qE -- "$2" "$1" || fail "no '$2' in $1"; }
lacks() { ! grep -E -- "$2" "$1" || fail "'$2' is in $1"; }
image() { echo "$("$top/selftests/kernel" dir "$1")/boot/vmlinuz-$("$top/selftests/kernel" release "$1")"; }

# pack DIR: an initramfs of what is there
pack() { (cd "$1" && find . | cpio -o -H newc --quiet); }

# initrd VERSION: make it, once, with what a function more_files VERSION adds to ./root
initrd() {
	[ ! -e "$dir/initrd-$1" ] || return 0
	mkdir -p root/{bin,dev,proc,sys}
	cp "$(command -v busybox)" root/bin/busybox
	ln -sf busybox root/bin/sh
	install "$top/selftests/hvrun/guest-linux/init" root/init
	cp -L "$top/build/$1/guest-linux/hcall_report.ko" root
	! declare -F more_files >/dev/null || more_files "$1"
	pack root | gzip -1 >"$dir/initrd-$1"
	rm -r root
}

# modules VERSION NAME...: those of the guest's kernel and what they need, and the transport, for
# more_files; in the order in which they can be loaded
modules() {
	local version=$1 module n=10
	shift
	mkdir root/modules
	while read -r module; do
		xz -dc "$module" >"root/modules/$n-$(basename "$module" .xz)"
		n=$((n + 1))
	done < <(modprobe -C /dev/null -d "$("$top/selftests/kernel" dir "$version")" \
		-S "$("$top/selftests/kernel" release "$version")" -a --show-depends "$@" |
		awk '$1 == "insmod" && !seen[$2]++ { print $2 }')
	cp -L "$top/build/$version/guest/virtio_hcall.ko" root
	cp "$top/selftests/hvrun/guest-linux/"{virtio,devices}.sh root
}

# programs DIR NAME...: copy programs of this machine and what they need to run
programs() {
	local to=$1 program file
	shift
	for program; do
		program=$(command -v "$program") || continue
		for file in "$program" $(ldd "$program" | grep -o '/[^ ]*'); do
			mkdir -p "$to${file%/*}"
			cp -L "$file" "$to$file"
		done
	done
}

# boot STATUS VERSION [OPTIONS...] -- [ARGS...]: stdout and stderr are files; $ramdisk and $input are the
# initramfs and stdin if they are to be others
boot() {
	local want=$1 version=$2 options=() status begun i
	shift 2
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	initrd "$version"
	for i in $(seq $tries); do
		status=0 begun=${EPOCHREALTIME/./}
		timeout -k 5 $limit "$hvrun" run -v "${options[@]}" --initrd \
			"${ramdisk:-$dir/initrd-$version}" -- \
			"$(image "$version")" "$@" >stdout 2>stderr \
			<"${input:-/dev/null}" || status=$?
		[ $status = 124 ] || { [ $status != "$want" ] && grep -q 'triple fault' stderr; } || break
		echo "# Linux $version ${options[*]}: status $status in $limit s (try $i of $tries)" >&3
	done
	echo "# Linux $version ${options[*]}: $(((${EPOCHREALTIME/./} - begun) / 1000)) ms," \
		"/init after $(sed -n 's/^uptime \([^ ]*\).*/\1/p' stdout) s of its own clock" >&3
	[ $status = "$want" ] || fail "status $status, not $want"
}

# skip_guest VERSION: why not, if so
skip_guest() { [[ " ${guests[*]} " = *" $1 "* ]] || echo "make host-files-$1 was not done"; }
