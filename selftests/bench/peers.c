// SPDX-License-Identifier: GPL-2.0
/*
 * See peers.h.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/input.h>
#include <linux/uinput.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "peers.h"

#define TAP	  "bench"
#define ETHERTYPE 0x88b5 /* for local experiments */
#define KEYS	  64 /* what evdev's ring of a keyboard holds, and one */

struct peers peers;

static const uint8_t mac[6] = { 2, 'h', 'c', 'a', 'l', 'l' };
static int uinput; /* the keyboard's own side */
static int packet; /* to the tap's queue; takes nothing in */

/* ---- The tap ---------------------------------------------------------------- */

static struct sockaddr_ll tap_address(uint16_t ethertype)
{
	return (struct sockaddr_ll){
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ethertype),
		.sll_ifindex = if_nametoindex(TAP),
	};
}

static int tap_packet(uint16_t ethertype)
{
	struct sockaddr_ll to = tap_address(ethertype);
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	NEED(fd >= 0);
	NEED(!bind(fd, (struct sockaddr *)&to, sizeof(to)));
	return fd;
}

/* No address, and without IPv6 the host itself never sends anything to it. */
static void tap_new(void)
{
	struct ifreq ifr = { .ifr_name = TAP };
	int control, ipv6;

	NEED(!unshare(CLONE_NEWNET));
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	NEED(control >= 0);
	ipv6 = open("/proc/sys/net/ipv6/conf/default/disable_ipv6",
		    O_WRONLY | O_CLOEXEC);
	NEED(ipv6 >= 0 ? write(ipv6, "1", 1) == 1 : errno == ENOENT);
	close(ipv6);

	peers.tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	NEED(peers.tap >= 0);
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI;
	NEED(!ioctl(peers.tap, TUNSETIFF, &ifr));
	NEED(!ioctl(control, SIOCGIFFLAGS, &ifr));
	ifr.ifr_flags |= IFF_UP;
	NEED(!ioctl(control, SIOCSIFFLAGS, &ifr));
	close(control);
	packet = tap_packet(0);
}

void frame_fill(void *to, uint32_t bytes, long i)
{
	const uint16_t ethertype = htons(ETHERTYPE);
	uint8_t *frame = to;

	memcpy(frame, mac, 6);
	memcpy(frame + 6, mac, 6);
	frame[6 + 5] ^= 1;
	memcpy(frame + 12, &ethertype, 2);
	memcpy(frame + 14, &i, sizeof(i));
	memset(frame + 14 + sizeof(i), 0x5a ^ bytes, bytes - 14 - sizeof(i));
}

void tap_refill(long n, uint32_t bytes)
{
	uint8_t frame[MAX_FRAME];

	while (read(peers.tap, frame, sizeof(frame)) > 0)
		;
	NEED(errno == EAGAIN);
	for (long i = 0; i < n; i++) {
		frame_fill(frame, bytes, i);
		NEED(send(packet, frame, bytes, 0) == bytes);
	}
}

int sniffer_open(void)
{
	return tap_packet(ETHERTYPE);
}

bool sniffer_has(int sniffer, uint32_t bytes, long i)
{
	uint8_t want[MAX_FRAME], got[MAX_FRAME];

	frame_fill(want, bytes, i);
	return recv(sniffer, got, sizeof(got), 0) == bytes &&
	       !memcmp(got, want, bytes);
}

/* ---- The keyboard ------------------------------------------------------------ */

static int evdev_open(void)
{
	char name[32], path[300];
	struct dirent *entry;
	int fd = -1;
	DIR *dir;

	NEED(ioctl(uinput, UI_GET_SYSNAME(sizeof(name)), name) >= 0);
	snprintf(path, sizeof(path), "/sys/devices/virtual/input/%s", name);
	dir = opendir(path);
	NEED(dir);
	while (fd < 0 && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "event", 5))
			continue;
		snprintf(path, sizeof(path), "/dev/input/%s", entry->d_name);
		fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	closedir(dir);
	NEED(fd >= 0);
	return fd;
}

static void keyboard_new(void)
{
	struct uinput_setup setup = { .id = { .bustype = BUS_VIRTUAL },
				      .name = "hcall bench keyboard" };

	uinput = open("/dev/uinput", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	NEED(uinput >= 0);
	NEED(!ioctl(uinput, UI_SET_EVBIT, EV_KEY));
	NEED(!ioctl(uinput, UI_SET_KEYBIT, KEY_A));
	NEED(!ioctl(uinput, UI_DEV_SETUP, &setup));
	NEED(!ioctl(uinput, UI_DEV_CREATE));
	peers.evdev = evdev_open();
	NEED(!ioctl(peers.evdev, EVIOCGRAB, 1));
}

void keys_refill(long n)
{
	static int down;
	struct input_event events[KEYS];

	NEED(n < KEYS);
	while (read(peers.evdev, events, sizeof(events)) > 0)
		;
	NEED(errno == EAGAIN);
	if (!n)
		return;
	n += n % 2; /* only what ends with EV_SYN can be read */
	memset(events, 0, sizeof(events));
	for (long i = 0; i < n; i += 2) {
		down = !down;
		events[i].type = EV_KEY;
		events[i].code = KEY_A;
		events[i].value = down;
	}
	NEED(write(uinput, events, n * sizeof(*events)) ==
	     (ssize_t)(n * sizeof(*events)));
}

/* ---- All ---------------------------------------------------------------------- */

void counted_refill(long n)
{
	uint64_t count = n;

	while (read(peers.counted, &count, sizeof(count)) > 0)
		;
	NEED(errno == EAGAIN);
	count = n;
	NEED(write(peers.counted, &count, sizeof(count)) == sizeof(count));
}

void peers_new(void)
{
	tap_new();
	keyboard_new();
	peers.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	peers.counted = eventfd(0, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
	peers.readable = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	peers.raised = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	NEED(peers.timer >= 0 && peers.counted >= 0 && peers.readable >= 0 &&
	     peers.raised >= 0);
}

static void add(struct vm *vm, struct kvm_hcall_add *what)
{
	int unit = vm_add_device(vm, what);

	errno = -unit;
	NEED(!unit);
}

void peers_add(struct vm *vm)
{
	static struct kvm_hcall_input description = { .name = "bench" };
	struct kvm_hcall_add net = {
		.class_id = HCALL_CLASS_NET,
		.fd = peers.tap,
		.fd_in = -1,
		.name = "tap",
		.mtu = 1500,
	};
	struct kvm_hcall_add input = {
		.class_id = HCALL_CLASS_INPUT,
		.fd = -1,
		.fd_in = peers.evdev,
		.name = "keyboard",
		.input = (uintptr_t)&description,
	};
	void *buffer =
		mmap(NULL, KVM_HCALL_BUFFER_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	NEED(buffer != MAP_FAILED);
	memcpy(net.mac, mac, sizeof(mac));
	add(vm, &net);
	input.buffer = (uintptr_t)buffer;
	add(vm, &input);
}
