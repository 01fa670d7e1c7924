// SPDX-License-Identifier: GPL-2.0
/*
 * Class 5, net: taps, macvtaps and pipes in a network namespace of this
 * program's own, with packet sockets and bridges on the other side.  Every
 * frame byte for byte, once; what has no room stays, or is told.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "taps.h"
#include "vmm.h"

#define BUF    (RAM + 0x10001) /* of no alignment at all */
#define BUF2   (RAM + 0x80003)
#define FRAMES (RAM + 0x40000) /* struct hcall_frame[] */
#define MAX    ((int)HCALL_NET_MAX_BYTES)
#define HEADER ((int)sizeof(struct hcall_net_header))

static struct vm vm;
static int tap = -1;
static int host = -1; /* packet socket at the tap */
static void *buffer; /* for the module, with VNET_HDR */
static uint32_t channel;
static uint8_t data[70000];

/* ---- The host's network --------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	NEED(fd >= 0 && write(fd, text, strlen(text)) > 0);
	close(fd);
}

__attribute__((format(printf, 1, 2))) static void sh(const char *format, ...)
{
	char command[256];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command)) {
		printf("# %s\n", command);
		NEED(!"command");
	}
}

/* A new one of our own, where nobody speaks unasked. */
static void namespace(void)
{
	static bool loaded;

	if (!loaded)
		sh("modprobe -a tun macvtap veth bridge");
	loaded = true;
	NEED(!unshare(CLONE_NEWNET));
	write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
}

static void if_ioctl(const char *name, unsigned long nr, int value)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct ifreq req = {};

	NEED(fd >= 0);
	strncpy(req.ifr_name, name, IFNAMSIZ - 1);
	if (nr == SIOCSIFFLAGS)
		req.ifr_flags = value;
	else
		req.ifr_mtu = value;
	NEED(!ioctl(fd, nr, &req));
	close(fd);
}

static void if_up(const char *name)
{
	if_ioctl(name, SIOCSIFFLAGS, IFF_UP | IFF_RUNNING);
}

static void if_down(const char *name)
{
	if_ioctl(name, SIOCSIFFLAGS, 0);
}

static int tap_attach(const char *name, int oflags, int flags)
{
	int fd = open("/dev/net/tun", oflags | O_CLOEXEC), bytes = HEADER;
	struct ifreq req = { .ifr_flags = flags };

	NEED(fd >= 0);
	strncpy(req.ifr_name, name, IFNAMSIZ - 1);
	NEED(!ioctl(fd, TUNSETIFF, &req));
	if (flags & IFF_VNET_HDR)
		NEED(!ioctl(fd, TUNSETVNETHDRSZ, &bytes));
	return fd;
}

static int tap_open(const char *name, int flags, int mtu)
{
	int fd = tap_attach(name, O_RDWR | O_NONBLOCK,
			    IFF_TAP | IFF_NO_PI | flags);

	if_ioctl(name, SIOCSIFMTU, mtu);
	if_up(name);
	return fd;
}

static int packet_open(const char *name)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = if_nametoindex(name),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	int bytes = 32 << 20, one = 1;

	NEED(fd >= 0 && addr.sll_ifindex);
	NEED(!setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes,
			 sizeof(bytes)));
	NEED(!setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one,
			 sizeof(one)));
	NEED(!bind(fd, (struct sockaddr *)&addr, sizeof(addr)));
	return fd;
}

/* The interface's tx_dropped: what the tap had no room for. */
static uint64_t dropped(const char *name)
{
	unsigned long long rx[8], packets, bytes, errors, drop;
	char line[512], *colon;
	FILE *f = fopen("/proc/self/net/dev", "r");

	NEED(f);
	while (fgets(line, sizeof(line), f)) {
		colon = strchr(line, ':');
		if (!colon)
			continue;
		*colon = 0;
		if (strcmp(line + strspn(line, " "), name))
			continue;
		NEED(sscanf(colon + 1,
			    "%llu %llu %llu %llu %llu %llu %llu %llu "
			    "%llu %llu %llu %llu",
			    rx, rx + 1, rx + 2, rx + 3, rx + 4, rx + 5, rx + 6,
			    rx + 7, &bytes, &packets, &errors, &drop) == 12);
		fclose(f);
		return drop;
	}
	NEED(!"interface");
	return 0;
}

/* ---- Frames ------------------------------------------------------------------- */

static uint8_t frame_byte(uint32_t seed, int i)
{
	static const uint8_t head[14] = { 0xff, 0xff, 0xff, 0xff, 0xff,
					  0xff, 0x02, 0,    0,	  0,
					  0,	0x77, 0x88, 0xb5 };
	uint32_t word = (seed * 0x9e3779b9u) ^ ((i >> 2) * 0x85ebca6bu);

	return i < 14 ? head[i] : word >> (i & 3) * 8 ^ word >> 16;
}

/* A broadcast of an experimental type, so every bridge and macvtap takes it. */
static void fill(uint8_t *p, int bytes, uint32_t seed)
{
	for (int i = 0; i < bytes; i++)
		p[i] = frame_byte(seed, i);
}

static bool is_frame(const uint8_t *p, int bytes, uint32_t seed)
{
	for (int i = 0; i < bytes; i++) {
		if (p[i] != frame_byte(seed, i)) {
			printf("# frame %u: byte %d of %d is %#x, not %#x\n",
			       seed, i, bytes, p[i], frame_byte(seed, i));
			return false;
		}
	}
	return true;
}

static void guest_fill(uint64_t gpa, int bytes, uint32_t seed)
{
	for (int i = 0; i < bytes; i++)
		*(uint8_t *)at(&vm, gpa + i) = frame_byte(seed, i);
}

static bool guest_is(uint64_t gpa, int bytes, uint32_t seed)
{
	for (int i = 0; i < bytes; i++)
		data[i] = *(uint8_t *)at(&vm, gpa + i);
	return is_frame(data, bytes, seed);
}

static void host_send(int bytes, uint32_t seed)
{
	fill(data, bytes, seed);
	NEED(send(host, data, bytes, 0) == bytes);
}

/* The next frame that arrives at the host; 0: none. */
static int host_recv(void)
{
	struct pollfd p = { .fd = host, .events = POLLIN };

	if (poll(&p, 1, 2000) != 1)
		return 0;
	return recv(host, data, sizeof(data), MSG_DONTWAIT);
}

static bool host_gets(int bytes, uint32_t seed)
{
	int got = host_recv();

	if (got != bytes) {
		printf("# frame of %d bytes, not %d\n", got, bytes);
		return false;
	}
	return is_frame(data, bytes, seed);
}

static bool host_silent(void)
{
	struct pollfd p = { .fd = host, .events = POLLIN };

	usleep(20000);
	return poll(&p, 1, 0) == 0;
}

/* ---- The guest ------------------------------------------------------------------ */

static struct kvm_hcall_add net_add(int fd, int fd_in, uint32_t flags)
{
	return (struct kvm_hcall_add){
		.flags = flags,
		.class_id = HCALL_CLASS_NET,
		.fd = fd,
		.fd_in = fd_in,
		.name = "n0",
		.buffer =
			flags & KVM_HCALL_ADD_VNET_HDR ? (uintptr_t)buffer : 0,
		.mac = { 0x02, 0, 0, 0, 0, 0x77 },
		.mtu = 1500,
	};
}

static void vm_setup(void)
{
	vm_new(&vm);
	vm_bind(&vm);
	namespace();
	buffer = mmap(NULL, KVM_HCALL_BUFFER_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(buffer != MAP_FAILED);
}

/* A tap of that MTU; with headers between module and tap if vnet. */
static void setup_tap(bool vnet, int mtu)
{
	struct kvm_hcall_add add;

	vm_setup();
	tap = tap_open("tap0", vnet ? IFF_VNET_HDR : 0, mtu);
	host = packet_open("tap0");
	add = net_add(tap, -1, vnet ? KVM_HCALL_ADD_VNET_HDR : 0);
	add.mtu = mtu;
	CHECK_EQ(vm_add_device(&vm, &add), 0);
	channel = vm_device(&vm, HCALL_CLASS_NET, 0).channel;
}

static void setup(void)
{
	setup_tap(false, 1500);
}

static void teardown(void)
{
	vm_free(&vm);
	munmap(buffer, KVM_HCALL_BUFFER_BYTES);
	close(tap);
	close(host);
	tap = host = -1;
}

static int64_t tx(uint64_t gpa, uint64_t bytes, uint64_t flags)
{
	return call(&vm, HCALL_NET_SEND, 0, gpa, bytes, flags);
}

static int64_t rx(uint64_t gpa, uint64_t bytes, uint64_t flags)
{
	return call(&vm, HCALL_NET_RECV, 0, gpa, bytes, flags);
}

static int64_t sendv(uint64_t gpa, uint64_t count, uint64_t flags)
{
	return call(&vm, HCALL_NET_SENDV, 0, gpa, count, flags);
}

static int64_t recvv(uint64_t gpa, uint64_t count, uint64_t flags)
{
	return call(&vm, HCALL_NET_RECVV, 0, gpa, count, flags);
}

static int64_t features_once(uint64_t bits)
{
	return call(&vm, HCALL_NET_FEATURES, 0, bits, 0, 0);
}

/* A change may come too soon after the last one. */
static int64_t features(uint64_t bits)
{
	int64_t ret = -HCALL_EAGAIN;

	for (int i = 0; i < 500 && ret == -HCALL_EAGAIN; i++) {
		if (i)
			usleep(1000);
		ret = features_once(bits);
	}
	return ret;
}

static struct hcall_frame *frame(int i)
{
	return (struct hcall_frame *)at(&vm, FRAMES) + i;
}

/* Element i: a buffer of its own. */
static void frame_set(int i, uint64_t gpa, uint32_t bytes)
{
	*frame(i) = (struct hcall_frame){ gpa, bytes, 0xeeeeeeee };
}

#define SLOT(i) (BUF2 + (i)*2053u)

static void nothing_there(void)
{
	CHECK_EQ(rx(BUF, MAX, HCALL_NOWAIT), -HCALL_EAGAIN);
}

/* ---- One frame ------------------------------------------------------------------ */

static void info(void)
{
	struct hcall_device d;

	for (int vnet = 0; vnet < 2; vnet++) {
		uint32_t all = HCALL_NET_F_CSUM | HCALL_NET_F_GUEST_CSUM |
			       HCALL_NET_F_GUEST_TSO4 | HCALL_NET_F_GUEST_TSO6 |
			       HCALL_NET_F_HOST_TSO4 | HCALL_NET_F_HOST_TSO6;

		setup_tap(vnet, 1400);
		d = vm_device(&vm, HCALL_CLASS_NET, 0);
		CHECK(!strcmp(d.name, "n0"));
		CHECK(!memcmp(d.u.net.mac, "\2\0\0\0\0\x77", 6));
		CHECK_EQ(d.u.net.mtu, 1400);
		CHECK_EQ(d.u.net.link, 1);
		CHECK_EQ(d.u.net.features, vnet ? all : 0);
		CHECK_EQ(d.u.net.max_bytes, MAX);
		CHECK_EQ(d.u.net.max_frames, HCALL_NET_MAX_FRAMES);
		CHECK(d.channel >= 64 && d.channel < HCALL_CHANNEL_GUEST);
		for (int i = 24; i < 64; i++)
			CHECK_EQ(d.u.bytes[i], 0);
		CHECK_EQ(call(&vm, HCALL_SYS_PROBE, HCALL_CLASS_NET, 0, 0, 0),
			 0x3f);
		teardown();
	}
}

static const int sizes[] = { 14,   15,	 59,   60,   61,   64,	 127,	1513,
			     1514, 1515, 4095, 4096, 4097, 9014, 65535, MAX };
#define SIZES ((int)(sizeof(sizes) / sizeof(sizes[0])))

static void sends(void)
{
	uint64_t bytes = 0;

	for (int vnet = 0; vnet < 2; vnet++) {
		setup_tap(vnet, 1500);
		for (int i = 0; i < SIZES; i++) {
			for (int align = 0; align < 8; align += 1 + i / 4) {
				guest_fill(RAM + 0x10000 + align, sizes[i], i);
				CHECK_EQ(tx(RAM + 0x10000 + align, sizes[i],
					    align % 2 ? HCALL_NOWAIT : 0),
					 0);
				CHECK(host_gets(sizes[i], i));
				bytes += sizes[i];
			}
		}
		CHECK(host_silent());
		CHECK_EQ(vm_stats(&vm, HCALL_CLASS_NET).bytes, bytes);
		CHECK_EQ(vm_stats(&vm, HCALL_CLASS_NET).errors, 0);
		bytes = 0;
		teardown();
	}
}

/* Room to the byte, and room to spare; what is around it is not touched. */
static void receives(void)
{
	for (int vnet = 0; vnet < 2; vnet++) {
		setup_tap(vnet, 65521);
		nothing_there();
		for (int i = 0; i < SIZES; i++) {
			int bytes = sizes[i];

			/* The most that a packet socket sends. */
			if (bytes > 65535)
				continue;
			for (int align = 0; align < 8; align += 1 + i / 4) {
				int room = align % 2 ? bytes : MAX;
				uint64_t gpa = RAM + 0x10000 + align;
				uint8_t *p = at(&vm, gpa);

				memset(p - 8, 0xee, MAX + 16);
				host_send(bytes, i + align);
				CHECK_EQ(rx(gpa, room, 0), bytes);
				CHECK(guest_is(gpa, bytes, i + align));
				for (int k = 1; k <= 8; k++)
					CHECK_EQ(p[-k], 0xee);
				/* Up to there it is undefined. */
				for (int k = room; k < MAX + 8; k++)
					CHECK_EQ(p[k], 0xee);
			}
		}
		nothing_there();
		teardown();
	}
}

#define TILES_BYTES (7 * 4096 + 100)

/* Over pages and memslots, and from a ROM. */
static void memory(void)
{
	for (int vnet = 0; vnet < 2; vnet++) {
		uint8_t *p;

		setup_tap(vnet, 65521);
		for (int cut = 1; cut < 1514; cut += cut < 20 ? 1 : 93) {
			guest_fill(RAM2 - cut, 1514, cut);
			CHECK_EQ(tx(RAM2 - cut, 1514, 0), 0);
			CHECK(host_gets(1514, cut));
			memset(at(&vm, RAM2 - cut), 0, cut);
			memset(at(&vm, RAM2), 0, 1514);
			host_send(1514, cut + 7);
			CHECK_EQ(rx(RAM2 - cut, 1514, 0), 1514);
			CHECK(guest_is(RAM2 - cut, 1514, cut + 7));
		}
		/* Eight memslots, in another order in the host; and no more. */
		host_send(TILES_BYTES, 5);
		CHECK_EQ(rx(TILES + 5, TILES_BYTES + 4096, 0), -HCALL_EFAULT);
		CHECK_EQ(rx(TILES + 5, TILES_BYTES, 0), TILES_BYTES);
		CHECK_EQ(tx(TILES + 5, TILES_BYTES + 4096, 0), -HCALL_EFAULT);
		CHECK_EQ(tx(TILES + 5, TILES_BYTES, 0), 0);
		CHECK(host_gets(TILES_BYTES, 5));
		for (int i = 5; i < TILES_BYTES + 5; i++) {
			p = vm.tiles + (15 - i / 4096) * 4096 + i % 4096;
			CHECK_EQ(*p, frame_byte(5, i - 5));
		}
		fill(vm.rom + 3, 100, 9);
		CHECK_EQ(tx(ROM + 3, 100, 0), 0);
		CHECK(host_gets(100, 9));
		teardown();
	}
}

static void mistakes(void)
{
	static const struct {
		uint64_t dev, gpa, bytes, flags;
		int64_t want;
	} bad[] = {
		{ 0, BUF, 0, 0, -HCALL_EINVAL },
		{ 0, BUF, 100, 2, -HCALL_EINVAL },
		{ 0, BUF, 100, 1ull << 32, -HCALL_EINVAL },
		{ 0, BUF, 100, -1, -HCALL_EINVAL },
		{ 1, BUF, 100, 0, -HCALL_ENODEV },
		{ 63, BUF, 100, 0, -HCALL_ENODEV },
		{ 64, BUF, 100, 0, -HCALL_ENODEV },
		{ 1ull << 32, BUF, 100, 0, -HCALL_ENODEV },
		{ -1, BUF, 100, 0, -HCALL_ENODEV },
		{ 0, BUF, MAX + 1, 0, -HCALL_E2BIG },
		{ 0, BUF, 1ull << 32 | 100, 0, -HCALL_E2BIG },
		{ 0, BUF, -1, 0, -HCALL_E2BIG },
		{ 0, HOLE, 100, 0, -HCALL_EFAULT },
		{ 0, HOLE - 1, 100, 0, -HCALL_EFAULT },
		{ 0, HOLE - 99, 100, 0, -HCALL_EFAULT },
		{ 0, TILES + 16 * 4096 - 99, 100, 0, -HCALL_EFAULT },
		{ 0, -1, 100, 0, -HCALL_EFAULT },
		{ 0, -100, 100, 0, -HCALL_EFAULT },
		{ 0, -99, 100, 0, -HCALL_EFAULT },
		{ 0, 1ull << 52, 100, 0, -HCALL_EFAULT },
		{ 0, RAM | 1ull << 40, 100, 0, -HCALL_EFAULT },
	};

	for (int vnet = 0; vnet < 2; vnet++) {
		setup_tap(vnet, 1500);
		host_send(100, 1);
		guest_fill(HOLE - 100, 100, 3);
		for (unsigned int i = 0; i < 2 * sizeof(bad) / sizeof(bad[0]);
		     i++) {
			uint32_t nr = i % 2 ? HCALL_NET_RECV : HCALL_NET_SEND;
			int64_t got =
				call(&vm, nr, bad[i / 2].dev, bad[i / 2].gpa,
				     bad[i / 2].bytes, bad[i / 2].flags);

			if (got != bad[i / 2].want)
				printf("# row %u\n", i / 2);
			CHECK_EQ(got, bad[i / 2].want);
		}
		for (int bytes = 1; bytes < 14; bytes++)
			CHECK_EQ(tx(BUF, bytes, 0), -HCALL_EINVAL);
		CHECK_EQ(rx(ROM, 100, 0), -HCALL_EFAULT);
		/* Nothing was sent, and what was there is still there. */
		CHECK(host_silent());
		CHECK(guest_is(HOLE - 100, 100, 3));
		CHECK_EQ(rx(BUF, MAX, HCALL_NOWAIT), 100);
		CHECK(guest_is(BUF, 100, 1));
		nothing_there();
		CHECK_EQ(features(1ull << 32), -HCALL_EINVAL);
		CHECK_EQ(features(2u << 30), -HCALL_EINVAL);
		for (uint64_t dev = 1; dev; dev <<= 7) {
			CHECK_EQ(call(&vm, HCALL_NET_FEATURES, dev, 0, 0, 0),
				 -HCALL_ENODEV);
			CHECK_EQ(call(&vm, HCALL_NET_LINK, dev, 0, 0, 0),
				 -HCALL_ENODEV);
		}
		CHECK_EQ(call(&vm, HCALL_NR(HCALL_CLASS_NET, 6), 0, BUF, 60, 0),
			 -HCALL_ENOSYS);
		guest_fill(BUF, 60, 1);
		vcpu_mode(&vm.vcpu[0], MODE_64_USER);
		CHECK_EQ(tx(BUF, 60, 0), -HCALL_EPERM);
		vcpu_mode(&vm.vcpu[0], MODE_64);
		CHECK_EQ(vm_policy(&vm, HCALL_CLASS_NET, KVM_HCALL_DENY, 0), 0);
		CHECK_EQ(tx(BUF, 60, 0), -HCALL_EPERM);
		CHECK_EQ(vm_policy(&vm, HCALL_CLASS_NET, KVM_HCALL_HANDLE, 0),
			 0);
		CHECK(host_silent());
		CHECK_EQ(tx(BUF, 60, 0), 0);
		CHECK(host_gets(60, 1));
		teardown();
	}
}

/* Too little room: told as often as it is asked, and the frame stays first. */
static void too_small(void)
{
	static const int rooms[] = { 1, 13, 14, 59, 1000, 1513 };

	for (int vnet = 0; vnet < 2; vnet++) {
		setup_tap(vnet, 1500);
		for (int i = 0; i < 6; i++)
			CHECK_EQ(rx(BUF, rooms[i], HCALL_NOWAIT),
				 -HCALL_EAGAIN);
		host_send(1514, 1);
		host_send(60, 2);
		memset(at(&vm, BUF), 0xee, 1514);
		for (int i = 0; i < 12; i++)
			CHECK_EQ(
				rx(BUF, rooms[i / 2], i % 2 ? HCALL_NOWAIT : 0),
				-HCALL_E2BIG);
		for (int i = 0; i < 1514; i++)
			CHECK_EQ(*(uint8_t *)at(&vm, BUF + i), 0xee);
		frame_set(0, BUF, 1513);
		frame_set(1, BUF2, 1514);
		CHECK_EQ(recvv(FRAMES, 2, 0), -HCALL_E2BIG);
		CHECK_EQ(rx(BUF, 1514, 0), 1514);
		CHECK(guest_is(BUF, 1514, 1));
		CHECK_EQ(rx(BUF, 60, 0), 60);
		CHECK(guest_is(BUF, 60, 2));
		nothing_there();
		teardown();
	}
}

static void doors(void)
{
	for (int vnet = 0; vnet < 2; vnet++) {
		setup_tap(vnet, 1500);
		for (int i = 0; i < 2 * DOORS; i++) {
			enum door door = i / 2;

			vcpu_mode(&vm.vcpu[0], i % 2 ? MODE_32 : MODE_64);
			guest_fill(BUF, 300 + i, i);
			CHECK_EQ(call_door(&vm, door, HCALL_NET_SEND, 0, BUF,
					   300 + i, HCALL_NOWAIT),
				 0);
			CHECK(host_gets(300 + i, i));
			CHECK_EQ(call_door(&vm, door, HCALL_NET_RECV, 0, BUF,
					   2000, HCALL_NOWAIT),
				 -HCALL_EAGAIN);
			host_send(400 + i, i);
			CHECK_EQ(call_door(&vm, door, HCALL_NET_RECV, 0, BUF,
					   2000, HCALL_NOWAIT),
				 400 + i);
			CHECK(guest_is(BUF, 400 + i, i));
			frame_set(0, SLOT(0), 100);
			frame_set(1, SLOT(1), 200);
			guest_fill(SLOT(0), 100, 5);
			guest_fill(SLOT(1), 200, 6);
			CHECK_EQ(call_door(&vm, door, HCALL_NET_SENDV, 0,
					   FRAMES, 2, HCALL_NOWAIT),
				 2);
			CHECK(host_gets(100, 5));
			CHECK(host_gets(200, 6));
			host_send(70, 7);
			CHECK_EQ(call_door(&vm, door, HCALL_NET_RECVV, 0,
					   FRAMES, 2, HCALL_NOWAIT),
				 1);
			CHECK_EQ(frame(0)->used, 70);
			CHECK(guest_is(SLOT(0), 70, 7));
			CHECK_EQ(call_door(&vm, door, HCALL_NET_FEATURES, 0, 0,
					   0, 0),
				 0);
			CHECK_EQ(call_door(&vm, door, HCALL_NET_LINK, 0, 0, 0,
					   0),
				 HCALL_LINK_UP | 1500);
		}
		teardown();
	}
}

/* 64 frames in a batch, each way, in order; by way of the worker too. */
static void batches(void)
{
	struct hcall_op *op;

	for (int async = 0; async < 2; async++) {
		setup();
		op = at(&vm, RAM);
		memset(op, 0, 64 * sizeof(*op));
		for (int i = 0; i < 64; i++) {
			guest_fill(SLOT(i), 60 + i * 13, i);
			op[i].number = HCALL_NET_SEND;
			op[i].args[1] = SLOT(i);
			op[i].args[2] = 60 + i * 13;
		}
		CHECK_EQ(
			call(&vm, HCALL_SYS_BATCH, RAM, 64, async, 700 * async),
			64);
		CHECK(!async || channel_fires(&vm, 700));
		for (int i = 0; i < 64; i++) {
			CHECK_EQ(op[i].result, 0);
			CHECK(host_gets(60 + i * 13, i));
		}
		for (int i = 0; i < 63; i++)
			host_send(61 + i * 13, i);
		memset(op, 0, 64 * sizeof(*op));
		for (int i = 0; i < 64; i++) {
			op[i].number = HCALL_NET_RECV;
			op[i].args[1] = SLOT(i);
			op[i].args[2] = 2000;
		}
		CHECK_EQ(
			call(&vm, HCALL_SYS_BATCH, RAM, 64, async, 700 * async),
			64);
		CHECK(!async || channel_fires(&vm, 700));
		for (int i = 0; i < 63; i++) {
			CHECK_EQ(op[i].result, 61 + i * 13);
			CHECK(guest_is(SLOT(i), 61 + i * 13, i));
		}
		/* A batch does not wait. */
		CHECK_EQ(op[63].result, -HCALL_EAGAIN);
		teardown();
	}
}

/* ---- Vectors -------------------------------------------------------------------- */

static void vectors(void)
{
	for (int vnet = 0; vnet < 2; vnet++) {
		setup_tap(vnet, 1500);
		for (int i = 0; i < 256; i++) {
			guest_fill(SLOT(i), 14 + i * 5, i);
			frame_set(i, SLOT(i), 14 + i * 5);
		}
		CHECK_EQ(sendv(FRAMES, 256, 0), 256);
		for (int i = 0; i < 256; i++)
			CHECK(host_gets(14 + i * 5, i));
		for (int i = 0; i < 100; i++)
			host_send(60 + i * 7, i + 1000);
		for (int i = 0; i < 256; i++) {
			memset(at(&vm, SLOT(i)), 0xee, 2053);
			frame_set(i, SLOT(i), 1514);
		}
		CHECK_EQ(recvv(FRAMES, 256, 0), 100);
		for (int i = 0; i < 256; i++) {
			int bytes = i < 100 ? 60 + i * 7 : 0;

			CHECK_EQ(frame(i)->gpa, SLOT(i));
			CHECK_EQ(frame(i)->bytes, 1514);
			CHECK_EQ(frame(i)->used,
				 bytes ? (uint32_t)bytes : 0xeeeeeeee);
			CHECK(guest_is(SLOT(i), bytes, i + 1000));
			for (int k = bytes ? 1514 : 0; k < 2053; k++)
				CHECK_EQ(*(uint8_t *)at(&vm, SLOT(i) + k),
					 0xee);
		}
		CHECK_EQ(recvv(FRAMES, 256, HCALL_NOWAIT), -HCALL_EAGAIN);
		/* The array may lie anywhere but at an odd place. */
		for (int i = 0; i < 4; i++)
			host_send(60 + i, i);
		for (int i = 0; i < 4; i++) {
			struct hcall_frame f = { SLOT(i), 1514, 0 };
			void *to = i < 2 ? vm.ram + RAM_BYTES - 24 + i * 16
					 : vm.ram2 + 8 + (i - 2) * 16;

			if (i == 1) {
				memcpy(to, &f, 8);
				memcpy(vm.ram2, (char *)&f + 8, 8);
			} else {
				memcpy(to, &f, sizeof(f));
			}
		}
		CHECK_EQ(recvv(RAM2 - 24, 4, 0), 4);
		CHECK_EQ(*(uint32_t *)(vm.ram2 + 4), 61); /* used */
		for (int i = 0; i < 4; i++)
			CHECK(guest_is(SLOT(i), 60 + i, i));
		*(struct hcall_frame *)(vm.rom + 8) =
			(struct hcall_frame){ SLOT(3), 63, 0 };
		CHECK_EQ(sendv(ROM + 8, 1, 0), 1);
		CHECK(host_gets(63, 3));
		teardown();
	}
}

/* A bad element in the middle ends it, and is told when it comes first. */
static void bad_elements(void)
{
	static const struct {
		uint64_t gpa;
		uint32_t bytes;
		int64_t send, recv;
	} bad[] = {
		{ BUF, 13, -HCALL_EINVAL, -HCALL_E2BIG },
		{ BUF, 0, -HCALL_EINVAL, -HCALL_EINVAL },
		{ BUF, MAX + 1, -HCALL_E2BIG, -HCALL_E2BIG },
		{ BUF, -1, -HCALL_E2BIG, -HCALL_E2BIG },
		{ HOLE, 1514, -HCALL_EFAULT, -HCALL_EFAULT },
		{ HOLE - 14, 1514, -HCALL_EFAULT, -HCALL_EFAULT },
		{ -1, 1514, -HCALL_EFAULT, -HCALL_EFAULT },
		{ ROM, 1514, 0, -HCALL_EFAULT },
	};

	setup();
	fill(vm.rom, 1514, 99);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (int k = 0; k < 5; k++) {
			guest_fill(SLOT(k), 100 + k, k);
			frame_set(k, SLOT(k), 100 + k);
		}
		frame_set(2, bad[i].gpa, bad[i].bytes);
		if (bad[i].send) {
			CHECK_EQ(sendv(FRAMES, 5, 0), 2);
			CHECK(host_gets(100, 0));
			CHECK(host_gets(101, 1));
			CHECK_EQ(sendv(FRAMES + 32, 3, 0), bad[i].send);
			CHECK(host_silent());
		} else {
			CHECK_EQ(sendv(FRAMES, 5, 0), 5);
			for (int k = 0; k < 5; k++)
				CHECK(host_recv() == (k == 2 ? 1514 : 100 + k));
		}
		for (int k = 0; k < 5; k++) {
			host_send(200 + k, k + i);
			frame_set(k, SLOT(k), 1514);
		}
		frame_set(2, bad[i].gpa, bad[i].bytes);
		CHECK_EQ(recvv(FRAMES, 5, 0), 2);
		CHECK_EQ(recvv(FRAMES + 32, 3, 0), bad[i].recv);
		CHECK_EQ(frame(0)->used, 200);
		CHECK_EQ(frame(1)->used, 201);
		CHECK_EQ(frame(2)->used, 0xeeeeeeee);
		CHECK(guest_is(SLOT(1), 201, 1 + i));
		CHECK_EQ(recvv(FRAMES + 48, 2, 0), 2);
		CHECK(guest_is(SLOT(3), 202, 2 + i));
		CHECK(guest_is(SLOT(4), 203, 3 + i));
		CHECK_EQ(rx(BUF, MAX, HCALL_NOWAIT), 204);
		CHECK(guest_is(BUF, 204, 4 + i));
		nothing_there();
	}
	/* The array itself. */
	frame_set(0, BUF, 60);
	host_send(60, 1);
	for (int i = 0; i < 2; i++) {
		int64_t (*f)(uint64_t, uint64_t, uint64_t) = i ? sendv : recvv;

		CHECK_EQ(f(FRAMES, 0, 0), -HCALL_EINVAL);
		CHECK_EQ(f(FRAMES, 1, 2), -HCALL_EINVAL);
		CHECK_EQ(f(FRAMES + 4, 1, 0), -HCALL_EINVAL);
		CHECK_EQ(f(FRAMES + 1, 1, 0), -HCALL_EINVAL);
		CHECK_EQ(f(FRAMES, 257, 0), -HCALL_E2BIG);
		CHECK_EQ(f(FRAMES, 1ull << 32 | 1, 0), -HCALL_E2BIG);
		CHECK_EQ(f(FRAMES, -1, 0), -HCALL_E2BIG);
		CHECK_EQ(f(HOLE, 1, 0), -HCALL_EFAULT);
		CHECK_EQ(f(HOLE - 8, 1, 0), -HCALL_EFAULT);
		CHECK_EQ(f(HOLE - 16, 2, 0), -HCALL_EFAULT);
		CHECK_EQ(f(-16, 1, 0), -HCALL_EFAULT);
		CHECK_EQ(f(-16, 2, 0), -HCALL_EFAULT);
		CHECK_EQ(call(&vm, i ? HCALL_NET_SENDV : HCALL_NET_RECVV, 1,
			      FRAMES, 1, 0),
			 -HCALL_ENODEV);
	}
	*(struct hcall_frame *)vm.rom = (struct hcall_frame){ BUF, 60, 0 };
	CHECK_EQ(recvv(ROM, 1, 0), -HCALL_EFAULT);
	CHECK(host_silent());
	CHECK_EQ(rx(BUF, MAX, HCALL_NOWAIT), 60);
	teardown();
}

/*
 * Another vCPU changes the array all the time.  Each frame is one that the
 * array could have meant, and nothing else in memory changes.
 */
static atomic_bool stop;

static void *changer(void *arg)
{
	volatile struct hcall_frame *f = arg;

	for (uint32_t i = 0; !stop; i++) {
		uint32_t r = i * 0x9e3779b9u;
		int k = r >> 28;

		switch (r >> 20 & 7) {
		case 0:
			f[k].gpa = HOLE;
			break;
		case 1:
			f[k].bytes = MAX + 5;
			break;
		case 2:
			f[k].bytes = 3;
			break;
		case 3:
			f[k].gpa = -1;
			break;
		case 4:
			f[k].bytes = 100;
			break;
		case 5:
			f[k].bytes = 900;
			break;
		default:
			f[k].gpa = r >> 16 & 1 ? SLOT(0) : SLOT(1);
			break;
		}
	}
	return NULL;
}

static void changing(void)
{
	pthread_t thread;
	int sent = 0, came = 0, received = 0;
	struct timespec end, now;

	setup();
	for (int i = 0; i < 16; i++)
		frame_set(i, SLOT(i % 2), 100);
	guest_fill(SLOT(0), 900, 0);
	guest_fill(SLOT(1), 900, 1);
	stop = false;
	NEED(!pthread_create(&thread, NULL, changer, frame(0)));
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += 2;
	do {
		int64_t n = sendv(FRAMES, 16, HCALL_NOWAIT);

		if (n > 0)
			sent += n;
		else if (n != -HCALL_EFAULT && n != -HCALL_EINVAL &&
			 n != -HCALL_E2BIG)
			break;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < end.tv_sec);
	stop = true;
	NEED(!pthread_join(thread, NULL));
	CHECK(sent > 10);
	for (; came < sent; came++) {
		int bytes = host_recv();

		CHECK(bytes == 100 || bytes == 900);
		CHECK(is_frame(data, bytes,
			       data[20] == frame_byte(1, 20) ? 1 : 0));
	}
	CHECK(host_silent());

	/* Receiving: into SLOT(0) or SLOT(1), and nowhere else. */
	memset(at(&vm, SLOT(0) - 100), 0xee, 20 * 2053);
	stop = false;
	NEED(!pthread_create(&thread, NULL, changer, frame(0)));
	came = 0;
	sent = 0;
	while (came < 200 && received >= 0) {
		int64_t n;

		if (sent - received < 50) {
			host_send(90, sent);
			sent++;
		}
		n = recvv(FRAMES, 16, HCALL_NOWAIT);
		if (n > 0) {
			received += n;
			came++;
		} else if (n != -HCALL_EFAULT && n != -HCALL_EINVAL &&
			   n != -HCALL_E2BIG && n != -HCALL_EAGAIN) {
			received = -1;
		}
	}
	stop = true;
	NEED(!pthread_join(thread, NULL));
	CHECK(received > 0);
	for (int i = 0; i < 16; i++)
		frame_set(i, SLOT(2), 100);
	while (recvv(FRAMES, 1, HCALL_NOWAIT) == 1)
		received++;
	CHECK_EQ(received, sent);
	for (int i = -100; i < 0; i++)
		CHECK_EQ(*(uint8_t *)at(&vm, SLOT(0) + i), 0xee);
	for (int k = 0; k < 18; k++) {
		for (int i = k < 2 ? 900 : k == 2 ? 100 : 0; i < 2053; i++)
			CHECK_EQ(*(uint8_t *)at(&vm, SLOT(k) + i), 0xee);
	}
	teardown();
}

/* ---- Waiting -------------------------------------------------------------------- */

static void sleep_in_recv(int vcpu)
{
	call_sleeps(&vm.vcpu[vcpu], HCALL_NET_RECV, 0, SLOT(vcpu), 1514, 0);
}

static void sleeps(void)
{
	setup();
	for (int i = 0; i < 20; i++) {
		sleep_in_recv(0);
		if (!i)
			sleep_is_free(&vm);
		host_send(60, i);
		CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
		CHECK_EQ(rx(BUF, 60, 0), 60);
		CHECK(guest_is(BUF, 60, i));
	}
	/* RECVV as well. */
	frame_set(0, BUF, 1514);
	call_sleeps(&vm.vcpu[0], HCALL_NET_RECVV, 0, FRAMES, 1, 0);
	host_send(60, 7);
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(recvv(FRAMES, 1, 0), 1);
	/* Two vCPUs: both hear of it, one gets it. */
	sleep_in_recv(0);
	sleep_in_recv(1);
	host_send(60, 8);
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(call_wait(&vm.vcpu[1]), -HCALL_EAGAIN);
	CHECK_EQ(rx(BUF, 60, 0), 60);
	nothing_there();
	/* A signal ends KVM_RUN, not the sleep. */
	sleep_in_recv(0);
	call_interrupt(&vm.vcpu[0]);
	host_send(60, 9);
	CHECK_EQ(call_run(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(rx(BUF, 60, 0), 60);
	/* A frame that has no room is no reason to sleep. */
	host_send(100, 9);
	CHECK_EQ(rx(BUF, 60, 0), -HCALL_E2BIG);
	CHECK_EQ(rx(BUF, 100, 0), 100);
	/* The interface is taken away from the VM. */
	sleep_in_recv(0);
	vm_remove(&vm, HCALL_CLASS_NET, 0);
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(rx(BUF, 60, 0), -HCALL_ENODEV);
	CHECK_EQ(tx(BUF, 60, 0), -HCALL_ENODEV);
	teardown();
}

static void fires(void)
{
	setup();
	channel_take(&vm, channel);
	CHECK(!channel_take(&vm, channel));
	for (int i = 0; i < 10; i++) {
		host_send(60, i);
		CHECK(channel_fires(&vm, channel));
		CHECK_EQ(rx(BUF, 60, HCALL_NOWAIT), 60);
		nothing_there();
		/* Sending is no event. */
		channel_take(&vm, channel);
		CHECK_EQ(tx(BUF, 60, 0), 0);
		CHECK_EQ(host_recv(), 60);
		CHECK(!channel_take(&vm, channel));
	}
	call_start(&vm.vcpu[0], HCALL_EVENT_WAIT, 0, 0, 0, 0);
	CHECK(call_asleep(&vm.vcpu[0]));
	host_send(60, 0);
	CHECK_EQ(call_wait(&vm.vcpu[0]), 0);
	CHECK_EQ(call(&vm, HCALL_EVENT_NEXT, 0, 0, 0, 0), channel);
	CHECK_EQ(rx(BUF, 60, HCALL_NOWAIT), 60);
	teardown();
}

static int link_ioctl(uint32_t unit, uint32_t flags, int mtu)
{
	struct kvm_hcall_link link = { flags, unit, mtu, {} };

	return ioctl(vm.hcall, KVM_HCALL_LINK, &link) ? -errno : 0;
}

static void link_state(void)
{
	struct kvm_hcall_link odd = { .mtu = 1500, .reserved[2] = 1 };

	setup();
	NEED(!ioctl(vm.hcall, KVM_HCALL_SEAL));
	CHECK_EQ(call(&vm, HCALL_NET_LINK, 0, 0, 0, 0), HCALL_LINK_UP | 1500);
	channel_take(&vm, channel);
	CHECK_EQ(link_ioctl(0, 0, 1280), 0);
	CHECK(channel_fires(&vm, channel));
	CHECK_EQ(call(&vm, HCALL_NET_LINK, 0, 0, 0, 0), 1280);
	CHECK_EQ(vm_device(&vm, HCALL_CLASS_NET, 0).u.net.link, 0);
	CHECK_EQ(vm_device(&vm, HCALL_CLASS_NET, 0).u.net.mtu, 1280);
	CHECK_EQ(link_ioctl(0, KVM_HCALL_LINK_UP, 65535), 0);
	CHECK(channel_fires(&vm, channel));
	vcpu_mode(&vm.vcpu[0], MODE_32);
	CHECK_EQ(call(&vm, HCALL_NET_LINK, 0, 0, 0, 0), HCALL_LINK_UP | 65535);
	vcpu_mode(&vm.vcpu[0], MODE_64);
	CHECK_EQ(vm_device(&vm, HCALL_CLASS_NET, 0).u.net.link, 1);
	/* A vCPU that waits for anything hears of it. */
	call_start(&vm.vcpu[0], HCALL_EVENT_WAIT, 0, 0, 0, 0);
	CHECK(call_asleep(&vm.vcpu[0]));
	CHECK_EQ(link_ioctl(0, KVM_HCALL_LINK_UP, 68), 0);
	CHECK_EQ(call_wait(&vm.vcpu[0]), 0);
	CHECK_EQ(call(&vm, HCALL_NET_LINK, 0, 0, 0, 0), HCALL_LINK_UP | 68);
	CHECK(channel_take(&vm, channel));

	CHECK_EQ(link_ioctl(1, KVM_HCALL_LINK_UP, 1500), -ENODEV);
	CHECK_EQ(link_ioctl(64, KVM_HCALL_LINK_UP, 1500), -ENODEV);
	CHECK_EQ(link_ioctl(-1, KVM_HCALL_LINK_UP, 1500), -ENODEV);
	CHECK_EQ(link_ioctl(0, 2, 1500), -EINVAL);
	CHECK_EQ(link_ioctl(0, KVM_HCALL_LINK_UP, 67), -EINVAL);
	CHECK_EQ(link_ioctl(0, KVM_HCALL_LINK_UP, 0), -EINVAL);
	CHECK(ioctl(vm.hcall, KVM_HCALL_LINK, &odd) && errno == EINVAL);
	CHECK(ioctl(vm.hcall, KVM_HCALL_LINK, NULL) && errno == EFAULT);
	CHECK(!channel_take(&vm, channel));
	CHECK_EQ(call(&vm, HCALL_NET_LINK, 0, 0, 0, 0), HCALL_LINK_UP | 68);
	teardown();
}

/* ---- Trouble on the host ---------------------------------------------------------- */

static void tap_down(void)
{
	for (int vnet = 0; vnet < 2; vnet++) {
		setup_tap(vnet, 1500);
		guest_fill(BUF, 60, 1);
		if_down("tap0");
		CHECK_EQ(tx(BUF, 60, 0), -HCALL_EIO);
		CHECK_EQ(tx(BUF, 60, HCALL_NOWAIT), -HCALL_EIO);
		frame_set(0, BUF, 60);
		CHECK_EQ(sendv(FRAMES, 1, 0), -HCALL_EIO);
		nothing_there();
		if_up("tap0");
		close(host);
		host = packet_open("tap0");
		CHECK_EQ(tx(BUF, 60, 0), 0);
		CHECK(host_gets(60, 1));
		host_send(60, 2);
		CHECK_EQ(rx(BUF, 60, 0), 60);
		teardown();
	}
}

/* The interface is deleted, while a vCPU sleeps in it or not. */
static void tap_deleted(void)
{
	for (int vnet = 0; vnet < 2; vnet++) {
		setup_tap(vnet, 1500);
		guest_fill(BUF, 60, 1);
		channel_take(&vm, channel);
		sleep_in_recv(1);
		sh("ip link del tap0");
		CHECK_EQ(call_wait(&vm.vcpu[1]), -HCALL_EAGAIN);
		CHECK(channel_fires(&vm, channel));
		for (int i = 0; i < 3; i++) {
			CHECK_EQ(tx(BUF, 60, 0), -HCALL_EIO);
			CHECK_EQ(rx(BUF, 60, 0), -HCALL_EIO);
			CHECK_EQ(rx(BUF, 60, HCALL_NOWAIT), -HCALL_EIO);
		}
		if (vnet) {
			CHECK_EQ(features(HCALL_NET_F_GUEST_CSUM), -HCALL_EIO);
			CHECK_EQ(tx(BUF, 60, 0), -HCALL_EIO);
			CHECK_EQ(rx(BUF, 60, 0), -HCALL_EIO);
		}
		CHECK_EQ(call(&vm, HCALL_NET_LINK, 0, 0, 0, 0),
			 HCALL_LINK_UP | 1500);
		teardown();
	}
}

/* The launcher's mappings go: those of the guest's memory, and of the buffer. */
static void unmapped(void)
{
	uint8_t *p;
	int64_t ret;

	setup();
	p = at(&vm, RAM + 0x20000);
	NEED(!munmap(p, 4096));
	host_send(60, 1);
	CHECK_EQ(tx(RAM + 0x20000, 60, 0), -HCALL_EFAULT);
	CHECK_EQ(rx(RAM + 0x20000, 60, 0), -HCALL_EFAULT);
	CHECK(host_silent());
	NEED(mmap(p, 4096, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
	host_send(60, 2);
	while ((ret = rx(RAM + 0x20000, 60, HCALL_NOWAIT)) == 60 &&
	       !guest_is(RAM + 0x20000, 60, 2))
		;
	CHECK_EQ(ret, 60);
	teardown();

	for (int round = 0; round < 3; round++) {
		void *old;

		setup_tap(true, 1500);
		old = buffer;
		NEED(!munmap(buffer, KVM_HCALL_BUFFER_BYTES));
		if (round == 1)
			NEED(mmap(old, KVM_HCALL_BUFFER_BYTES, PROT_READ,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
				  0) == old);
		if (round == 2) { /* SIGBUS for us */
			int fd = memfd_create("short", 0);

			NEED(mmap(old, KVM_HCALL_BUFFER_BYTES,
				  PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, fd, 0) == old);
			close(fd);
		}
		guest_fill(BUF, 60, 1);
		for (int i = 0; i < 5; i++) {
			ret = tx(BUF, 60, 0);
			CHECK(ret == 0 || ret == -HCALL_EFAULT ||
			      ret == -HCALL_EIO);
			host_send(60, 1);
			ret = rx(BUF2, 60, HCALL_NOWAIT);
			CHECK(ret == 60 || ret == -HCALL_EFAULT ||
			      ret == -HCALL_EIO);
			ret = features(1);
			CHECK(ret == 0 || ret == -HCALL_EFAULT ||
			      ret == -HCALL_EIO);
			CHECK_EQ(features(0), 0);
		}
		CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, BUF2, 8, 0, 0), 8);
		NEED(mmap(old, KVM_HCALL_BUFFER_BYTES, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
			  0) == old);
		buffer = old;
		CHECK_EQ(features(0), 0);
		while (!host_silent())
			host_recv();
		while (rx(BUF2, MAX, HCALL_NOWAIT) > 0)
			;
		CHECK_EQ(tx(BUF, 60, 0), 0);
		CHECK(host_gets(60, 1));
		host_send(60, 3);
		CHECK_EQ(rx(BUF, 60, 0), 60);
		CHECK(guest_is(BUF, 60, 3));
		teardown();
	}
}

/* ---- Offloads --------------------------------------------------------------------- */

#define ETH 14
#define IP  20
#define TCP 20

/* Another tap, through a bridge, which neither sums up nor splits for itself. */
static int peer = -1;

static void setup_bridge(void)
{
	setup_tap(true, 1500);
	peer = tap_open("peer0", IFF_VNET_HDR, 1500);
	sh("ip link add br0 type bridge stp_state 0 mcast_snooping 0 && "
	   "ip link set tap0 master br0 && ip link set peer0 master br0 && "
	   "ip link set br0 up");
}

static void teardown_bridge(void)
{
	sh("ip link del br0");
	close(peer);
	teardown();
}

/* A frame at the peer, without its header; 0: none. */
static int peer_recv(uint8_t *to)
{
	struct hcall_net_header head;
	struct iovec iov[] = { { &head, HEADER }, { to, 70000 } };
	struct pollfd p = { .fd = peer, .events = POLLIN };
	int n;

	if (poll(&p, 1, 2000) != 1)
		return 0;
	n = readv(peer, iov, 2);
	NEED(n > HEADER);
	/* This tap was not told to take anything unfinished. */
	CHECK_EQ(head.flags & HCALL_NET_NEEDS_CSUM, 0);
	CHECK_EQ(head.gso_type, 0);
	return n - HEADER;
}

static void peer_send(const struct hcall_net_header *head, void *from,
		      int bytes)
{
	struct iovec iov[] = { { (void *)head, HEADER }, { from, bytes } };

	NEED(writev(peer, iov, 2) == HEADER + bytes);
}

static uint32_t sum(const uint8_t *p, int bytes, uint32_t s)
{
	for (int i = 0; i < bytes; i++)
		s += i % 2 ? p[i] : p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static void put16(uint8_t *p, int value)
{
	p[0] = value >> 8;
	p[1] = value;
}

static int get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static uint32_t pseudo(const uint8_t *ip, int bytes)
{
	return sum(ip + 12, 8, 6 /* TCP */ + bytes);
}

/*
 * TCP over IPv4 with so much payload; its checksum is that of the pseudo
 * header only, as NEEDS_CSUM wants it.
 */
static int tcp_frame(uint8_t *p, int payload, bool to_guest)
{
	static const uint8_t head[] = { 0x45, 0, 0,  0, 0, 1, 0x40, 0, 64, 6,
					0,    0, 10, 9, 0, 1, 10,   9, 0,  2 };
	static const uint8_t tcp[] = { 0x10, 0x00, 0x20, 0x00, 0, 0,	1,
				       0,    0,	   0,	 0,    1, 0x50, 0x18,
				       0xff, 0xff, 0,	 0,    0, 0 };

	memcpy(p, "\2\0\0\0\0\x01\2\0\0\0\0\x77\x08\0", ETH);
	if (to_guest)
		memcpy(p, "\2\0\0\0\0\x77\2\0\0\0\0\x01\x08\0", ETH);
	memcpy(p + ETH, head, IP);
	put16(p + ETH + 2, IP + TCP + payload);
	put16(p + ETH + 10, ~sum(p + ETH, IP, 0));
	memcpy(p + ETH + IP, tcp, TCP);
	for (int i = 0; i < payload; i++)
		p[ETH + IP + TCP + i] = i * 7 + (i >> 8);
	put16(p + ETH + IP + 16, pseudo(p + ETH, TCP + payload));
	return ETH + IP + TCP + payload;
}

static bool tcp_sum_right(const uint8_t *p, int bytes)
{
	int tcp = bytes - ETH - IP;

	return sum(p + ETH, IP, 0) == 0xffff &&
	       get16(p + ETH + 2) == bytes - ETH &&
	       sum(p + ETH + IP, tcp, pseudo(p + ETH, tcp)) == 0xffff;
}

static const struct hcall_net_header needs_csum = {
	.flags = HCALL_NET_NEEDS_CSUM,
	.csum_start = ETH + IP,
	.csum_offset = 16,
};

static const struct hcall_net_header tso = {
	.flags = HCALL_NET_NEEDS_CSUM,
	.gso_type = HCALL_NET_GSO_TCPV4,
	.header_bytes = ETH + IP + TCP,
	.gso_bytes = 1448,
	.csum_start = ETH + IP,
	.csum_offset = 16,
};

static void put_header(uint64_t gpa, const struct hcall_net_header *head)
{
	memcpy(at(&vm, gpa), head, HEADER);
}

/* Split as TSO does: in order, each complete in itself. */
static bool peer_gets_segments(int payload)
{
	static uint8_t segment[70000];
	int got = 0;

	while (got < payload) {
		int bytes = peer_recv(segment), n = bytes - ETH - IP - TCP;

		if (n <= 0 || bytes > 1514 || !tcp_sum_right(segment, bytes)) {
			printf("# bad segment of %d bytes at %d\n", bytes, got);
			return false;
		}
		if (get16(segment + ETH + IP + 6) != (0x100 + got) % 65536)
			printf("# sequence number %#x at %d\n",
			       get16(segment + ETH + IP + 6), got);
		for (int i = 0; i < n; i++, got++) {
			uint8_t want = got * 7 + (got >> 8);

			if (segment[ETH + IP + TCP + i] != want)
				return false;
		}
	}
	return got == payload;
}

/* What a header gets that asks for what was not agreed on. */
static bool sent_or_refused(int64_t ret, int payload)
{
	struct pollfd p = { .fd = peer, .events = POLLIN };

	if (ret == 0)
		return peer_gets_segments(payload);
	return ret == -HCALL_EINVAL && poll(&p, 1, 5) == 0;
}

static void offload_send(void)
{
	int bytes;

	setup_bridge();
	/* Without features: as it is, wrong sum and all. */
	bytes = tcp_frame(at(&vm, BUF), 500, false);
	CHECK_EQ(tx(BUF, bytes, 0), 0);
	CHECK_EQ(peer_recv(data), bytes);
	CHECK(!memcmp(data, at(&vm, BUF), bytes));

	CHECK_EQ(features(HCALL_NET_F_CSUM), 0);
	put_header(BUF, &needs_csum);
	bytes = tcp_frame(at(&vm, BUF + HEADER), 501, false);
	CHECK_EQ(tx(BUF, HEADER + bytes, 0), 0);
	CHECK_EQ(peer_recv(data), bytes);
	CHECK(tcp_sum_right(data, bytes));
	/* A frame that needs nothing is left alone. */
	memset(at(&vm, BUF), 0, HEADER);
	guest_fill(BUF + HEADER, 300, 1);
	CHECK_EQ(tx(BUF, HEADER + 300, 0), 0);
	CHECK_EQ(peer_recv(data), 300);
	CHECK(is_frame(data, 300, 1));
	/* A header and less than a frame. */
	for (int i = 1; i < HEADER + 14; i++)
		CHECK_EQ(tx(BUF, i, 0), -HCALL_EINVAL);
	CHECK_EQ(tx(BUF, HEADER + 14, 0), 0);
	CHECK_EQ(peer_recv(data), 14);
	/* TSO was not agreed on. */
	put_header(BUF, &tso);
	bytes = tcp_frame(at(&vm, BUF + HEADER), 10000, false);
	CHECK(sent_or_refused(tx(BUF, HEADER + bytes, 0), 10000));
	CHECK_EQ(features(HCALL_NET_F_CSUM | HCALL_NET_F_HOST_TSO6), 0);
	CHECK(sent_or_refused(tx(BUF, HEADER + bytes, 0), 10000));

	CHECK_EQ(features(HCALL_NET_F_CSUM | HCALL_NET_F_HOST_TSO4), 0);
	CHECK_EQ(tx(BUF, HEADER + bytes, 0), 0);
	CHECK(peer_gets_segments(10000));
	/* As large as it gets: 64 KiB of IP. */
	{
		static uint8_t whole[70000];

		memcpy(whole, &tso, HEADER);
		bytes = tcp_frame(whole + HEADER, 65535 - IP - TCP, false);
		memcpy(at(&vm, RAM2 - 5), whole, 5);
		memcpy(at(&vm, RAM2), whole + 5, HEADER + bytes - 5);
		CHECK_EQ(tx(RAM2 - 5, HEADER + bytes, 0), 0);
		CHECK(peer_gets_segments(65535 - IP - TCP));
	}
	/* In vectors as well, the header apart from nothing. */
	for (int i = 0; i < 4; i++) {
		bytes = tcp_frame(at(&vm, SLOT(i * 4) + HEADER), 3000 + i,
				  false);
		put_header(SLOT(i * 4), &tso);
		frame_set(i, SLOT(i * 4), HEADER + bytes);
	}
	CHECK_EQ(sendv(FRAMES, 4, 0), 4);
	for (int i = 0; i < 4; i++)
		CHECK(peer_gets_segments(3000 + i));
	/* Off again: no header any more. */
	CHECK_EQ(features(0), 0);
	guest_fill(BUF, 70, 8);
	CHECK_EQ(tx(BUF, 70, 0), 0);
	CHECK_EQ(peer_recv(data), 70);
	CHECK(is_frame(data, 70, 8));
	teardown_bridge();
}

/* Headers that make no sense: an error, and nothing comes out. */
static void bad_headers(void)
{
	struct hcall_net_header bad[16];
	struct pollfd p;
	int n = 0, bytes;
	int64_t ret;

	setup_bridge();
	p = (struct pollfd){ .fd = peer, .events = POLLIN };
	CHECK_EQ(features(HCALL_NET_F_CSUM | HCALL_NET_F_HOST_TSO4), 0);
	bytes = tcp_frame(at(&vm, BUF + HEADER), 1400, false);
	bad[n] = needs_csum, bad[n++].csum_start = 65000;
	bad[n] = needs_csum, bad[n++].csum_start = 65535;
	bad[n] = needs_csum, bad[n++].csum_offset = 65535;
	bad[n] = needs_csum, bad[n++].csum_offset = 2000;
	bad[n] = tso, bad[n++].gso_bytes = 0;
	bad[n] = tso, bad[n++].header_bytes = 65535;
	bad[n] = needs_csum, bad[n++].gso_type = 2;
	bad[n] = needs_csum, bad[n++].gso_type = 0x7f;
	for (int i = 0; i < n; i++) {
		put_header(BUF, &bad[i]);
		if (tx(BUF, HEADER + bytes, 0) != -HCALL_EINVAL) {
			printf("# header %d\n", i);
			CHECK(!"refused");
		}
		CHECK_EQ(poll(&p, 1, 5), 0);
	}
	/* Any bits at all: sent or refused, and still alive. */
	for (int i = 0; i < 1024; i++) {
		struct hcall_net_header odd = needs_csum;

		odd.flags = i;
		odd.gso_type = i / 4;
		odd.gso_bytes = 1 + i * 3;
		odd.buffers = i * 257;
		odd.header_bytes = i * 40;
		put_header(BUF, &odd);
		ret = tx(BUF, HEADER + bytes, 0);
		CHECK(ret == 0 || ret == -HCALL_EINVAL);
		while (poll(&p, 1, 0) == 1)
			NEED(read(peer, data, sizeof(data)) > 0);
	}
	while (poll(&p, 1, 20) == 1)
		NEED(read(peer, data, sizeof(data)) > 0);
	put_header(BUF, &needs_csum);
	CHECK_EQ(tx(BUF, HEADER + bytes, 0), 0);
	CHECK_EQ(peer_recv(data), bytes);
	CHECK(tcp_sum_right(data, bytes));
	teardown_bridge();
}

static void offload_recv(void)
{
	struct hcall_net_header head;
	int bytes, large;

	setup_bridge();
	bytes = tcp_frame(data, 500, true);
	/* No features: it arrives summed up, and split. */
	peer_send(&needs_csum, data, bytes);
	CHECK_EQ(rx(BUF, MAX, 0), bytes);
	CHECK(tcp_sum_right(at(&vm, BUF), bytes));
	large = tcp_frame(data, 10000, true);
	peer_send(&tso, data, large);
	for (int i = 0; i < 7; i++) {
		int64_t n = rx(BUF, MAX, 0);

		CHECK(n > 0 && n <= 1514);
		CHECK(tcp_sum_right(at(&vm, BUF), n));
	}
	nothing_there();

	/* Only the host's: headers, but frames are still complete. */
	CHECK_EQ(features(HCALL_NET_F_CSUM), 0);
	bytes = tcp_frame(data, 500, true);
	peer_send(&needs_csum, data, bytes);
	CHECK_EQ(rx(BUF, bytes + HEADER - 1, 0), -HCALL_E2BIG);
	CHECK_EQ(rx(BUF, MAX, 0), HEADER + bytes);
	memcpy(&head, at(&vm, BUF), HEADER);
	CHECK_EQ(head.flags & HCALL_NET_NEEDS_CSUM, 0);
	CHECK_EQ(head.gso_type, 0);
	CHECK_EQ(head.buffers, 1);
	CHECK(tcp_sum_right(at(&vm, BUF + HEADER), bytes));

	CHECK_EQ(features(HCALL_NET_F_GUEST_CSUM), 0);
	peer_send(&needs_csum, data, bytes);
	CHECK_EQ(rx(BUF, bytes + HEADER, 0), HEADER + bytes);
	memcpy(&head, at(&vm, BUF), HEADER);
	CHECK_EQ(head.flags, HCALL_NET_NEEDS_CSUM);
	CHECK_EQ(head.csum_start, ETH + IP);
	CHECK_EQ(head.csum_offset, 16);
	CHECK_EQ(head.buffers, 1);
	CHECK(!memcmp(at(&vm, BUF + HEADER), data, bytes));
	peer_send(&tso, data, tcp_frame(data, 10000, true));
	for (int i = 0; i < 7; i++) {
		int64_t n = rx(BUF, MAX, 0);

		CHECK(n > 0 && n <= 1514 + HEADER);
		CHECK_EQ(((struct hcall_net_header *)at(&vm, BUF))->gso_type,
			 0);
	}
	nothing_there();

	/* Large ones, in one piece. */
	CHECK_EQ(features(HCALL_NET_F_GUEST_CSUM | HCALL_NET_F_GUEST_TSO4), 0);
	peer_send(&tso, data, large);
	CHECK_EQ(rx(BUF, HEADER + large - 1, 0), -HCALL_E2BIG);
	CHECK_EQ(rx(BUF, HEADER + large, 0), HEADER + large);
	memcpy(&head, at(&vm, BUF), HEADER);
	CHECK_EQ(head.flags, HCALL_NET_NEEDS_CSUM);
	CHECK_EQ(head.gso_type, HCALL_NET_GSO_TCPV4);
	CHECK_EQ(head.gso_bytes, 1448);
	CHECK_EQ(head.buffers, 1);
	CHECK(!memcmp(at(&vm, BUF + HEADER), data, large));
	/* Linux itself splits what is over 65535 bytes with all its headers. */
	large = tcp_frame(data, 65535 - ETH - IP - TCP, true);
	peer_send(&tso, data, large);
	CHECK_EQ(rx(RAM2 - 777, MAX, 0), HEADER + large);
	memcpy(&head, at(&vm, RAM2 - 777), HEADER);
	CHECK_EQ(head.gso_type, HCALL_NET_GSO_TCPV4);
	/* ... in a vector. */
	large = tcp_frame(data, 10000, true);
	peer_send(&tso, data, large);
	frame_set(0, BUF, MAX);
	frame_set(1, BUF2, MAX);
	CHECK_EQ(recvv(FRAMES, 2, 0), 1);
	CHECK_EQ(frame(0)->used, HEADER + large);
	CHECK(!memcmp(at(&vm, BUF + HEADER), data, large));
	/* IPv6 was not agreed on, so it stays as it was for that; and all off. */
	CHECK_EQ(features(0), 0);
	peer_send(&tso, data, large);
	for (int i = 0; i < 7; i++) {
		int64_t n = rx(BUF, MAX, 0);

		CHECK(n > 0 && n <= 1514);
		CHECK(tcp_sum_right(at(&vm, BUF), n));
	}
	nothing_there();
	teardown_bridge();
}

static void features_errors(void)
{
	static const uint32_t wrong[] = {
		HCALL_NET_F_HOST_TSO4,
		HCALL_NET_F_HOST_TSO6,
		HCALL_NET_F_GUEST_TSO4,
		HCALL_NET_F_GUEST_TSO6,
		HCALL_NET_F_CSUM | HCALL_NET_F_GUEST_TSO4,
		HCALL_NET_F_GUEST_CSUM | HCALL_NET_F_HOST_TSO4,
		HCALL_NET_F_CSUM | 1u << 5, /* MAC */
		HCALL_NET_F_CSUM | 1u << 14, /* HOST_UFO */
		1u << 2,
		1u << 31,
		~0u,
	};

	/* Not offered. */
	setup();
	CHECK_EQ(features(0), 0);
	for (int bit = 0; bit < 64; bit++)
		CHECK_EQ(features(1ull << bit), -HCALL_EINVAL);
	guest_fill(BUF, 60, 1);
	CHECK_EQ(tx(BUF, 60, 0), 0);
	CHECK(host_gets(60, 1));
	teardown();

	setup_tap(true, 1500);
	for (int on = 0; on < 2; on++) {
		CHECK_EQ(features(on), 0);
		for (unsigned int i = 0; i < sizeof(wrong) / 4; i++) {
			/* Nothing has changed: headers or none, as before. */
			CHECK_EQ(features(wrong[i]), -HCALL_EINVAL);
			memset(at(&vm, BUF), 0, HEADER);
			guest_fill(BUF + HEADER * on, 60, i);
			CHECK_EQ(tx(BUF, 60 + HEADER * on, 0), 0);
			CHECK(host_gets(60, i));
			host_send(61, i);
			CHECK_EQ(rx(BUF, MAX, 0), 61 + HEADER * on);
			CHECK(guest_is(BUF + HEADER * on, 61, i));
		}
	}
	/* The most, with the header at the cap. */
	CHECK_EQ(features(HCALL_NET_F_CSUM | HCALL_NET_F_GUEST_CSUM |
			  HCALL_NET_F_GUEST_TSO4 | HCALL_NET_F_GUEST_TSO6 |
			  HCALL_NET_F_HOST_TSO4 | HCALL_NET_F_HOST_TSO6),
		 0);
	memset(at(&vm, BUF), 0, HEADER);
	guest_fill(BUF + HEADER, MAX - HEADER, 1);
	CHECK_EQ(tx(BUF, MAX, 0), 0);
	CHECK(host_gets(MAX - HEADER, 1));
	CHECK_EQ(tx(BUF, MAX + 1, 0), -HCALL_E2BIG);
	teardown();
}

/*
 * A guest that keeps changing its mind does not keep the host busy, and after
 * each answer it has what the answer says: headers or none.
 */
static void features_often(void)
{
	uint64_t begun = now_ns();
	int changes = 0, refused = 0;
	bool on = false;

	setup_tap(true, 1500);
	memset(at(&vm, BUF), 0, HEADER);
	guest_fill(BUF + HEADER, 60, 1);
	guest_fill(BUF2, 60, 1);
	while (now_ns() - begun < 1000000000) {
		int64_t ret = features_once(on ? 0 : HCALL_NET_F_GUEST_CSUM);

		if (ret == 0) {
			on = !on;
			changes++;
		} else {
			CHECK_EQ(ret, -HCALL_EAGAIN);
			refused++;
		}
		if (refused % 50 && ret)
			continue;
		CHECK_EQ(tx(on ? BUF : BUF2, on ? HEADER + 60 : 60, 0), 0);
		CHECK(host_gets(60, 1));
		/* What only the host does is not told to anybody. */
		CHECK_EQ(features_once((on ? HCALL_NET_F_GUEST_CSUM : 0) |
				       HCALL_NET_F_CSUM),
			 0);
		CHECK_EQ(features_once(on ? HCALL_NET_F_GUEST_CSUM : 0), 0);
	}
	printf("# %d changes, %d too soon\n", changes, refused);
	CHECK(changes >= 2 && changes <= 12);
	CHECK(refused > 10);
	teardown();
}

/* ---- Other backends ------------------------------------------------------------- */

static void jumbo(void)
{
	for (int vnet = 0; vnet < 2; vnet++) {
		setup_tap(vnet, 9000);
		CHECK_EQ(call(&vm, HCALL_NET_LINK, 0, 0, 0, 0),
			 HCALL_LINK_UP | 9000);
		for (int i = 0; i < 50; i++) {
			guest_fill(BUF, 9014, i);
			CHECK_EQ(tx(BUF, 9014, 0), 0);
			CHECK(host_gets(9014, i));
			host_send(9014, i + 50);
			CHECK_EQ(rx(BUF, 9014, 0), 9014);
			CHECK(guest_is(BUF, 9014, i + 50));
		}
		teardown();
	}
}

static void macvtap(void)
{
	for (int vnet = 0; vnet < 2; vnet++) {
		struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI };
		struct kvm_hcall_add add;
		int bytes = HEADER;
		char path[32];

		vm_setup();
		sh("ip link add va type veth peer name vb && "
		   "ip link add link va name mv0 type macvtap mode bridge && "
		   "ip link set va mtu 9000 && ip link set vb mtu 9000 && "
		   "ip link set mv0 mtu 9000 && "
		   "ip link set va up && ip link set vb up && "
		   "ip link set mv0 up");
		snprintf(path, sizeof(path), "/dev/tap%u",
			 if_nametoindex("mv0"));
		tap = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		NEED(tap >= 0);
		if (vnet)
			req.ifr_flags |= IFF_VNET_HDR;
		NEED(!ioctl(tap, TUNSETIFF, &req));
		if (vnet)
			NEED(!ioctl(tap, TUNSETVNETHDRSZ, &bytes));
		host = packet_open("vb");
		add = net_add(tap, -1, vnet ? KVM_HCALL_ADD_VNET_HDR : 0);
		CHECK_EQ(vm_add_device(&vm, &add), 0);
		for (int i = 0; i < 12; i++) {
			int size = sizes[i] > 9014 ? 9014 : sizes[i];

			/* A macvtap wants more than a bare header. */
			if (size < 15)
				size = 15;
			guest_fill(BUF + i, size, i);
			CHECK_EQ(tx(BUF + i, size, 0), 0);
			CHECK(host_gets(size, i));
			host_send(size, i + 50);
			call_start(&vm.vcpu[0], HCALL_NET_RECV, 0, BUF + i,
				   size, 0);
			{
				int64_t n = call_wait(&vm.vcpu[0]);

				if (n == -HCALL_EAGAIN)
					n = rx(BUF + i, size, 0);
				CHECK_EQ(n, size);
			}
			CHECK(guest_is(BUF + i, size, i + 50));
		}
		nothing_there();
		host_send(300, 1);
		for (int i = 0; i < 100 && rx(BUF, 1, 1) != -HCALL_E2BIG; i++)
			usleep(1000);
		CHECK_EQ(rx(BUF, 299, 0), -HCALL_E2BIG);
		CHECK_EQ(rx(BUF, 300, 0), 300);
		CHECK(guest_is(BUF, 300, 1));
		sleep_in_recv(0);
		host_send(60, 2);
		CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
		CHECK_EQ(rx(BUF, 60, 0), 60);
		if (vnet) {
			CHECK_EQ(features(HCALL_NET_F_CSUM |
					  HCALL_NET_F_GUEST_CSUM),
				 0);
			memset(at(&vm, BUF), 0, HEADER);
			guest_fill(BUF + HEADER, 200, 3);
			CHECK_EQ(tx(BUF, 200 + HEADER, 0), 0);
			CHECK(host_gets(200, 3));
			sleep_in_recv(0);
			host_send(201, 4);
			CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
			for (int i = 0; i < 3; i++)
				frame_set(i, SLOT(i), 1514);
			CHECK_EQ(recvv(FRAMES, 3, 0), 1);
			CHECK_EQ(frame(0)->used, HEADER + 201);
			CHECK(guest_is(SLOT(0) + HEADER, 201, 4));
		}
		/*
		 * The lower device goes, and the macvtap with it, which takes
		 * frames all the same: no error has to come, and no harm.
		 */
		sh("ip link del va");
		for (int i = 0; i < 3; i++) {
			int64_t n = tx(BUF, 60, 0);

			CHECK(n == 0 || n == -HCALL_EIO);
			n = rx(BUF, 60, HCALL_NOWAIT);
			CHECK(n == -HCALL_EAGAIN || n == -HCALL_EIO);
		}
		teardown();
	}
}

/* Packets through pipes; "in" and "out" as the guest sees it. */
static int pipe_out, pipe_in;

static void setup_pipes(void)
{
	struct kvm_hcall_add add;
	int a[2], b[2];

	vm_setup();
	NEED(!pipe2(a, O_DIRECT | O_CLOEXEC | O_NONBLOCK));
	NEED(!pipe2(b, O_DIRECT | O_CLOEXEC | O_NONBLOCK));
	add = net_add(a[1], b[0], 0);
	CHECK_EQ(vm_add_device(&vm, &add), 0);
	channel = vm_device(&vm, HCALL_CLASS_NET, 0).channel;
	close(a[1]);
	close(b[0]);
	pipe_out = a[0];
	pipe_in = b[1];
}

static void teardown_pipes(void)
{
	close(pipe_out);
	close(pipe_in);
	teardown();
}

static void pipe_send(int bytes, uint32_t seed)
{
	fill(data, bytes, seed);
	NEED(write(pipe_in, data, bytes) == bytes);
}

static bool pipe_gets(int bytes, uint32_t seed)
{
	int got = read(pipe_out, data, sizeof(data));

	if (got != bytes) {
		printf("# frame of %d bytes, not %d\n", got, bytes);
		return false;
	}
	return is_frame(data, bytes, seed);
}

static void pipes(void)
{
	struct hcall_device d;
	int sent = 0;

	setup_pipes();
	d = vm_device(&vm, HCALL_CLASS_NET, 0);
	CHECK_EQ(d.u.net.features, 0);
	CHECK_EQ(d.u.net.max_bytes, 4096);
	for (int bytes = 14; bytes <= 4096; bytes += bytes < 64 ? 1 : 252) {
		guest_fill(RAM2 - bytes / 2, bytes, bytes);
		CHECK_EQ(tx(RAM2 - bytes / 2, bytes, 0), 0);
		CHECK(pipe_gets(bytes, bytes));
		pipe_send(bytes, bytes + 1);
		CHECK_EQ(rx(RAM2 - bytes / 2, MAX, 0), bytes);
		CHECK(guest_is(RAM2 - bytes / 2, bytes, bytes + 1));
	}
	CHECK_EQ(tx(BUF, 4097, 0), -HCALL_E2BIG);
	CHECK_EQ(tx(BUF, 13, 0), -HCALL_EINVAL);
	CHECK_EQ(tx(HOLE - 10, 60, 0), -HCALL_EFAULT);
	CHECK(read(pipe_out, data, 4096) < 0 && errno == EAGAIN);
	/* Frames stay apart, and where they have no room they stay. */
	nothing_there();
	for (int i = 0; i < 5; i++)
		pipe_send(100 + i, i);
	CHECK_EQ(rx(BUF, 99, 0), -HCALL_E2BIG);
	CHECK_EQ(rx(HOLE, 200, 0), -HCALL_EFAULT);
	CHECK_EQ(rx(BUF, 1, 0), -HCALL_E2BIG);
	CHECK_EQ(rx(BUF, 100, 0), 100);
	CHECK(guest_is(BUF, 100, 0));
	for (int i = 0; i < 5; i++)
		frame_set(i, SLOT(i), 200);
	CHECK_EQ(recvv(FRAMES, 5, 0), 4);
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(frame(i)->used, 101 + i);
		CHECK(guest_is(SLOT(i), 101 + i, 1 + i));
	}
	/* Back-pressure. */
	guest_fill(BUF, 1000, 0);
	while (sent < 1000 && tx(BUF, 60 + sent, HCALL_NOWAIT) == 0)
		sent++;
	CHECK(sent >= 16 && sent < 1000);
	CHECK_EQ(tx(BUF, 60, HCALL_NOWAIT), -HCALL_EAGAIN);
	channel_take(&vm, channel);
	for (int i = 0; i < 3; i++)
		frame_set(i, BUF, 70 + i);
	CHECK_EQ(sendv(FRAMES, 3, HCALL_NOWAIT), -HCALL_EAGAIN);
	usleep(10000);
	channel_take(&vm, channel);
	usleep(10000);
	CHECK(!channel_take(&vm, channel));
	CHECK(pipe_gets(60, 0));
	CHECK(channel_fires(&vm, channel));
	CHECK_EQ(sendv(FRAMES, 3, HCALL_NOWAIT), 1);
	CHECK_EQ(sendv(FRAMES + 16, 2, HCALL_NOWAIT), -HCALL_EAGAIN);
	/* One that waits sleeps until there is room. */
	call_sleeps(&vm.vcpu[0], HCALL_NET_SEND, 0, BUF, 60, 0);
	CHECK(pipe_gets(61, 0));
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(tx(BUF, 77, 0), 0);
	for (int i = 2; i < sent; i++)
		CHECK(pipe_gets(60 + i, 0));
	CHECK(pipe_gets(70, 0));
	CHECK(pipe_gets(77, 0));
	/* Arrival: channel and sleep. */
	usleep(10000);
	channel_take(&vm, channel);
	pipe_send(60, 1);
	CHECK(channel_fires(&vm, channel));
	CHECK_EQ(rx(BUF, 60, 0), 60);
	sleep_in_recv(0);
	pipe_send(60, 2);
	CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
	CHECK_EQ(rx(BUF, 60, 0), 60);
	/* No such thing for pipes. */
	CHECK_EQ(features(1), -HCALL_EINVAL);
	CHECK_EQ(features(0), 0);
	teardown_pipes();
}

static void pipe_ends(void)
{
	setup_pipes();
	signal(SIGPIPE, SIG_DFL);
	pipe_send(60, 1);
	close(pipe_in);
	CHECK_EQ(rx(BUF, MAX, 0), 60);
	CHECK_EQ(rx(BUF, MAX, 0), -HCALL_EIO);
	CHECK_EQ(rx(BUF, MAX, HCALL_NOWAIT), -HCALL_EIO);
	guest_fill(BUF, 60, 2);
	CHECK_EQ(tx(BUF, 60, 0), 0);
	CHECK(pipe_gets(60, 2));
	close(pipe_out);
	CHECK_EQ(tx(BUF, 60, 0), -HCALL_EIO);
	pipe_in = pipe_out = -1;
	teardown_pipes();

	setup_pipes();
	channel_take(&vm, channel);
	sleep_in_recv(1);
	close(pipe_in);
	pipe_in = -1;
	CHECK_EQ(call_wait(&vm.vcpu[1]), -HCALL_EAGAIN);
	CHECK(channel_fires(&vm, channel));
	CHECK_EQ(rx(BUF, MAX, 0), -HCALL_EIO);
	teardown_pipes();
}

/* Refused; and the name is free, so a good one can follow. */
#define REFUSED(change, error)                                \
	do {                                                  \
		struct kvm_hcall_add add = good;              \
		change;                                       \
		CHECK_EQ(vm_add_device(&vm, &add), -(error)); \
	} while (0)

static void add_errors(void)
{
	struct kvm_hcall_add good;
	int tun, unset, rdonly, wronly, null, plain[2], direct[2];

	vm_setup();
	tap = tap_open("tap0", 0, 1500);
	host = packet_open("tap0");
	good = net_add(tap, -1, 0);
	tun = tap_attach("tun0", O_RDWR | O_NONBLOCK, IFF_TUN | IFF_NO_PI);
	unset = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	rdonly = tap_attach("tap1", O_RDONLY | O_NONBLOCK, IFF_TAP | IFF_NO_PI);
	wronly = tap_attach("tap2", O_WRONLY | O_NONBLOCK, IFF_TAP | IFF_NO_PI);
	null = open("/dev/null", O_RDWR | O_NONBLOCK);
	NEED(unset >= 0 && null >= 0);
	NEED(!pipe2(plain, O_NONBLOCK) && !pipe2(direct, O_DIRECT));

	REFUSED(add.fd = 999, EBADF);
	REFUSED(add.fd = -1, EBADF);
	REFUSED(add.fd = null, EINVAL);
	REFUSED(add.fd = host, EINVAL);
	REFUSED(add.fd = vm.hcall, EINVAL);
	REFUSED(add.fd = rdonly, EACCES);
	REFUSED(add.fd = wronly, EACCES);
	REFUSED(add.fd_in = tap, EINVAL);
	/* A pipe that goes one way only. */
	{
		struct kvm_hcall_add add = good;
		int error;

		add.fd = direct[1];
		error = vm_add_device(&vm, &add);
		CHECK(error == -EINVAL || error == -EACCES);
	}
	REFUSED((add.fd = direct[1], add.fd_in = 999), EBADF);
	REFUSED((add.fd = direct[1], add.fd_in = tap), EINVAL);
	REFUSED((add.fd = plain[1], add.fd_in = direct[0]), EINVAL);
	REFUSED((add.fd = direct[0], add.fd_in = direct[0]), EACCES);
	REFUSED((add.fd = direct[1], add.fd_in = direct[1]), EACCES);
	REFUSED(add.flags = KVM_HCALL_ADD_READONLY, EINVAL);
	REFUSED(add.flags = 1 << 3, EINVAL);
	REFUSED(add.flags = KVM_HCALL_ADD_VNET_HDR, EINVAL); /* no buffer */
	REFUSED((add.flags = KVM_HCALL_ADD_VNET_HDR, add.fd = direct[1],
		 add.fd_in = direct[0], add.buffer = (uintptr_t)buffer),
		EINVAL);
	REFUSED(add.buffer = (uintptr_t)buffer, EINVAL);
	REFUSED(add.input = (uintptr_t)buffer, EINVAL);
	REFUSED(add.columns = 1, EINVAL);
	REFUSED(add.rows = 1, EINVAL);
	REFUSED(memset(add.mac, 0, 6), EINVAL);
	REFUSED(add.mac[0] = 3, EINVAL);
	REFUSED(memset(add.mac, 0xff, 6), EINVAL);
	REFUSED(add.mtu = 0, EINVAL);
	REFUSED(add.mtu = 67, EINVAL);
	REFUSED(add.queues = 1, EFAULT);
	REFUSED(add.name[0] = 0, EINVAL);
	good.fd = direct[1];
	good.fd_in = direct[0];
	REFUSED(add.mtu = 4079, EINVAL);
	REFUSED(add.buffer = (uintptr_t)buffer, EINVAL);
	good.mtu = 4078;
	CHECK_EQ(vm_add_device(&vm, &good), 0);
	vm_remove(&vm, HCALL_CLASS_NET, 0);
	/* These need not be found out, but do no harm. */
	good.fd_in = -1;
	good.mtu = 65535;
	for (int i = 0; i < 2; i++) {
		good.fd = i ? tun : unset;
		if (vm_add_device(&vm, &good) == -EINVAL)
			continue;
		guest_fill(BUF, 60, 1);
		CHECK(tx(BUF, 60, HCALL_NOWAIT) < 0);
		CHECK(rx(BUF, 60, HCALL_NOWAIT) < 0);
		CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, BUF, 8, 0, 0), 8);
		vm_remove(&vm, HCALL_CLASS_NET, 0);
	}
	good = net_add(tap, -1, 0);
	/* Nothing of this has kept the interface or the name. */
	CHECK_EQ(vm_add_device(&vm, &good), 0);
	CHECK_EQ(vm_add_device(&vm, &good), -EEXIST);
	guest_fill(BUF, 60, 1);
	CHECK_EQ(tx(BUF, 60, 0), 0);
	CHECK(host_gets(60, 1));
	NEED(!ioctl(vm.hcall, KVM_HCALL_SEAL));
	strcpy(good.name, "n1");
	CHECK_EQ(vm_add_device(&vm, &good), -EPERM);
	close(tun);
	close(unset);
	close(rdonly);
	close(wronly);
	close(null);
	for (int i = 0; i < 2; i++) {
		close(plain[i]);
		close(direct[i]);
	}
	teardown();
}

/* As many interfaces as there can be; frames go where they belong. */
static void several(void)
{
	int taps[63], d[2];
	char name[16];

	setup();
	NEED(!pipe2(d, O_DIRECT));
	for (int i = 0; i < 63; i++) {
		struct kvm_hcall_add add;

		snprintf(name, sizeof(name), "many%d", i);
		taps[i] = i < 8 ? tap_open(name, 0, 1500) : -1;
		add = i < 8 ? net_add(taps[i], -1, 0) : net_add(d[1], d[0], 0);
		strcpy(add.name, name);
		add.mac[4] = i;
		CHECK_EQ(vm_add_device(&vm, &add), i + 1);
	}
	{
		struct kvm_hcall_add add = net_add(d[1], d[0], 0);

		strcpy(add.name, "too-many");
		CHECK_EQ(vm_add_device(&vm, &add), -ENOSPC);
	}
	close(host);
	host = packet_open("many5");
	guest_fill(BUF, 60, 6);
	CHECK_EQ(call(&vm, HCALL_NET_SEND, 6, BUF, 60, 0), 0);
	CHECK(host_gets(60, 6));
	CHECK_EQ(call(&vm, HCALL_NET_SEND, 5, BUF, 60, 0), 0);
	CHECK_EQ(tx(BUF, 60, 0), 0);
	CHECK(host_silent());
	host_send(61, 1);
	nothing_there();
	CHECK_EQ(call(&vm, HCALL_NET_RECV, 6, BUF, 100, 0), 61);
	CHECK_EQ(vm_device(&vm, HCALL_CLASS_NET, 6).u.net.mac[4], 5);
	for (int i = 0; i < 8; i++)
		close(taps[i]);
	close(d[0]);
	close(d[1]);
	teardown();
}

/* ---- Several queues -------------------------------------------------------------- */

#define QUEUES 4

static int more[KVM_HCALL_MAX_QUEUES - 1];
static int by_queue[QUEUES]; /* packet sockets, each for one */

static struct kvm_hcall_queues more_queues(int n)
{
	struct kvm_hcall_queues queues = { .count = n };

	for (int i = 0; i < KVM_HCALL_MAX_QUEUES - 1; i++)
		queues.fd[i] = i < n ? more[i] : -1;
	return queues;
}

static void setup_queues(bool vnet)
{
	struct kvm_hcall_queues queues;
	struct kvm_hcall_add add;

	vm_setup();
	tap = taps_open("tap0", vnet);
	for (int i = 0; i < QUEUES - 1; i++)
		more[i] = taps_open("tap0", vnet);
	taps_steer(tap);
	if_up("tap0");
	host = packet_open("tap0");
	for (int i = 0; i < QUEUES; i++) {
		by_queue[i] = packet_open("tap0");
		taps_listen(by_queue[i], i);
	}
	queues = more_queues(QUEUES - 1);
	add = net_add(tap, -1, vnet ? KVM_HCALL_ADD_VNET_HDR : 0);
	add.queues = (uintptr_t)&queues;
	CHECK_EQ(vm_add_device(&vm, &add), 0);
	channel = vm_device(&vm, HCALL_CLASS_NET, 0).channel;
}

static void teardown_queues(void)
{
	for (int i = 0; i < QUEUES - 1; i++)
		close(more[i]);
	for (int i = 0; i < QUEUES; i++)
		close(by_queue[i]);
	teardown();
}

static int queue_of(uint32_t seed)
{
	return frame_byte(seed, TAPS_BYTE) % QUEUES;
}

/* A frame that the tap has in that queue.  Return: its seed, always another. */
static uint32_t queue_send(int queue, int bytes)
{
	static uint32_t seed;

	do
		seed++;
	while (queue_of(seed) != queue);
	host_send(bytes, seed);
	return seed;
}

/* The queue by which the guest's next frame comes. */
static int queue_got(int bytes)
{
	for (int i = 0; i < QUEUES; i++) {
		int got = recv(by_queue[i], data, sizeof(data), MSG_DONTWAIT);

		if (got == bytes)
			return i;
	}
	return -1;
}

/* Frames come from all, in turn, and each queue's in its order. */
static void queues_receive(void)
{
	uint32_t seed[QUEUES][3], last;
	int turn;

	for (int i = 0; i < QUEUES; i++) {
		uint32_t one = queue_send(i, 60);

		CHECK_EQ(rx(BUF, 1514, 0), 60);
		CHECK(guest_is(BUF, 60, one));
		nothing_there();
	}
	for (int i = 0; i < QUEUES; i++) {
		for (int k = 0; k < 3; k++)
			seed[i][k] = queue_send(i, 60 + k);
	}
	turn = -1;
	for (int n = 0; n < 3 * QUEUES; n++) {
		int64_t bytes = rx(BUF, 1514, 0);

		NEED(bytes >= 60 && bytes < 63);
		for (int i = 0; turn < 0 && i < QUEUES; i++) {
			if (i == *(uint8_t *)at(&vm, BUF + TAPS_BYTE) % QUEUES)
				turn = i;
		}
		NEED(turn >= 0);
		CHECK_EQ(bytes, 60 + n / QUEUES);
		CHECK(guest_is(BUF, bytes, seed[turn][n / QUEUES]));
		turn = (turn + 1) % QUEUES;
	}
	nothing_there();
	/* By a vector. */
	for (int i = 0; i < 8; i++) {
		queue_send(i % QUEUES, 70 + i);
		frame_set(i, SLOT(i), 1514);
	}
	CHECK_EQ(recvv(FRAMES, 8, 0), 8);
	nothing_there();
	/* One that does not fit stays the next. */
	last = queue_send(2, 500);
	CHECK_EQ(rx(BUF, 499, 0), -HCALL_E2BIG);
	queue_send(1, 100);
	queue_send(3, 100);
	CHECK_EQ(rx(BUF, 499, 0), -HCALL_E2BIG);
	CHECK_EQ(rx(BUF, 500, 0), 500);
	CHECK(guest_is(BUF, 500, last));
	CHECK_EQ(rx(BUF, 100, 0), 100);
	CHECK_EQ(rx(BUF, 100, 0), 100);
	nothing_there();
}

/* Who waits for a frame waits for that of any queue. */
static void queues_wait(void)
{
	for (int i = 0; i < 3 * QUEUES; i++) {
		sleep_in_recv(0);
		queue_send(i % QUEUES, 60);
		CHECK_EQ(call_wait(&vm.vcpu[0]), -HCALL_EAGAIN);
		CHECK_EQ(rx(BUF, 1514, 0), 60);
		nothing_there();
		channel_take(&vm, channel);
		queue_send(i % QUEUES, 60);
		CHECK(channel_fires(&vm, channel));
		/* Its own queue, and so no other one, has a frame by now. */
		CHECK_EQ(rx(BUF, 1514, 0), 60);
	}
}

/* A frame goes by the queue of the vCPU, and the answers come by it. */
static void queues_send(void)
{
	for (int i = 0; i < MAX_VCPUS; i++) {
		struct vcpu *vcpu = &vm.vcpu[i];

		guest_fill(BUF, 60 + i, i);
		call_set(vcpu, HCALL_NET_SEND, 0, BUF, 60 + i, 0);
		CHECK_EQ(call_run(vcpu), 0);
		CHECK(host_gets(60 + i, i));
		CHECK_EQ(queue_got(60 + i), i);
		guest_fill(BUF, 80 + i, i);
		frame_set(0, BUF, 80 + i);
		call_set(vcpu, HCALL_NET_SENDV, 0, FRAMES, 1, 0);
		CHECK_EQ(call_run(vcpu), 1);
		CHECK(host_gets(80 + i, i));
		CHECK_EQ(queue_got(80 + i), i);
	}
	for (int door = 0; door < DOORS; door++) {
		guest_fill(BUF, 100, 5);
		CHECK_EQ(call_door(&vm, door, HCALL_NET_SEND, 0, BUF, 100, 0),
			 0);
		CHECK(host_gets(100, 5));
		CHECK_EQ(queue_got(100), 0);
	}
}

static void queues(void)
{
	for (int vnet = 0; vnet < 2; vnet++) {
		setup_queues(vnet);
		queues_receive();
		queues_wait();
		queues_send();
		/* What came before ADD is told by it. */
		vm_remove(&vm, HCALL_CLASS_NET, 0);
		channel_take(&vm, channel);
		queue_send(2, 60);
		{
			struct kvm_hcall_queues all = more_queues(QUEUES - 1);
			struct kvm_hcall_add add = net_add(
				tap, -1, vnet ? KVM_HCALL_ADD_VNET_HDR : 0);

			add.queues = (uintptr_t)&all;
			CHECK_EQ(vm_add_device(&vm, &add), 0);
		}
		CHECK(channel_take(&vm, channel));
		CHECK_EQ(rx(BUF, 1514, 0), 60);
		/* All of them go. */
		sleep_in_recv(1);
		vm_remove(&vm, HCALL_CLASS_NET, 0);
		CHECK_EQ(call_wait(&vm.vcpu[1]), -HCALL_EAGAIN);
		CHECK_EQ(rx(BUF, 1514, 0), -HCALL_ENODEV);
		teardown_queues();
	}
}

/* ADD with this change of the list, or of itself. */
#define QUEUES_REFUSED(change, error)                            \
	do {                                                     \
		struct kvm_hcall_queues queues = more_queues(2); \
		struct kvm_hcall_add add = net_add(tap, -1, 0);  \
                                                                 \
		add.queues = (uintptr_t)&queues;                 \
		change;                                          \
		CHECK_EQ(vm_add_device(&vm, &add), -(error));    \
	} while (0)

static void queues_errors(void)
{
	int null, direct[2];

	vm_setup();
	tap = taps_open("tap0", false);
	for (int i = 0; i < KVM_HCALL_MAX_QUEUES - 1; i++)
		more[i] = taps_open("tap0", false);
	if_up("tap0");
	host = packet_open("tap0");
	null = open("/dev/null", O_RDWR);
	NEED(null >= 0 && !pipe2(direct, O_DIRECT));
	QUEUES_REFUSED(add.queues = 8, EFAULT);
	QUEUES_REFUSED(queues.flags = 1, EINVAL);
	QUEUES_REFUSED(queues.count = 0, EINVAL);
	QUEUES_REFUSED(queues.count = KVM_HCALL_MAX_QUEUES, EINVAL);
	QUEUES_REFUSED(queues.count = UINT32_MAX, EINVAL);
	QUEUES_REFUSED(queues.count = 1, EINVAL); /* the second is not -1 */
	QUEUES_REFUSED(queues.count = 3, EBADF);
	QUEUES_REFUSED(queues.fd[14] = 0, EINVAL);
	QUEUES_REFUSED(queues.fd[1] = -1, EBADF);
	QUEUES_REFUSED(queues.fd[0] = 999, EBADF);
	QUEUES_REFUSED(queues.fd[1] = null, EINVAL);
	QUEUES_REFUSED(queues.fd[1] = host, EINVAL);
	QUEUES_REFUSED(queues.fd[1] = direct[1], EACCES);
	/* The queues of this tap have no header. */
	QUEUES_REFUSED((add.flags = KVM_HCALL_ADD_VNET_HDR,
			add.buffer = (uintptr_t)buffer),
		       EINVAL);
	QUEUES_REFUSED((add.fd = direct[1], add.fd_in = direct[0]), EINVAL);
	QUEUES_REFUSED((add.class_id = HCALL_CLASS_CONSOLE, add.mtu = 0,
			memset(add.mac, 0, 6)),
		       EINVAL);
	/* As many as there can be. */
	QUEUES_REFUSED(queues = more_queues(KVM_HCALL_MAX_QUEUES - 1), 0);
	host_send(60, 1);
	CHECK_EQ(rx(BUF, 1514, 0), 60);
	CHECK(guest_is(BUF, 60, 1));
	guest_fill(BUF, 60, 2);
	CHECK_EQ(tx(BUF, 60, 0), 0);
	CHECK(host_gets(60, 2));
	/* Again, with the others closed: the module has its own references. */
	for (int i = 0; i < KVM_HCALL_MAX_QUEUES - 1; i++)
		close(more[i]);
	for (int i = 0; i < 100; i++) {
		host_send(60, i);
		CHECK_EQ(rx(BUF, 1514, 0), 60);
		CHECK(guest_is(BUF, 60, i));
	}
	close(null);
	close(direct[0]);
	close(direct[1]);
	teardown();
}

/* ---- Under load ------------------------------------------------------------------ */

static atomic_int flood_sent;

/* Numbered frames as fast as they go; counts those that the host took. */
static void *flooder(void *arg)
{
	static uint8_t frame[1514];

	(void)arg;
	fill(frame, sizeof(frame), 1);
	while (!stop) {
		int n = flood_sent;

		memcpy(frame + 14, &n, 4);
		if (send(host, frame, n % 2 ? 64 : 1514, 0) > 0)
			flood_sent++;
	}
	return NULL;
}

/*
 * A second of it.  The guest makes other calls and receives: each of its calls
 * is served, what it receives is in order, and what is missing is what the
 * tap's own queue had no room for, to the frame.
 */
static void flood(void)
{
	pthread_t thread;
	uint64_t received = 0, served = 0, begun;
	int last = -1, idle = 0;

	setup();
	/* What the queue has room for is not lost at all. */
	for (int i = 0; i < 400; i++)
		host_send(64, i);
	for (int i = 0; i < 400; i++) {
		CHECK_EQ(rx(BUF, 64, HCALL_NOWAIT), 64);
		CHECK(guest_is(BUF, 64, i));
	}
	nothing_there();
	CHECK_EQ(dropped("tap0"), 0);

	stop = false;
	flood_sent = 0;
	for (int i = 0; i < 64; i++)
		frame_set(i, SLOT(i), 1514);
	NEED(!pthread_create(&thread, NULL, flooder, NULL));
	begun = now_ns();
	while (idle < 20) {
		int64_t n = recvv(FRAMES, 64, HCALL_NOWAIT);

		CHECK(n > 0 || n == -HCALL_EAGAIN || n == -HCALL_EINTR);
		for (int i = 0; i < n; i++) {
			int number;

			memcpy(&number, at(&vm, SLOT(i) + 14), 4);
			if (number <= last)
				stop = true;
			CHECK(number > last);
			CHECK_EQ(frame(i)->used, number % 2 ? 64 : 1514);
			last = number;
		}
		received += n > 0 ? n : 0;
		if (!stop) {
			CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, BUF, 8, 0, 0), 8);
			CHECK(call(&vm, HCALL_TIMER_NOW, 0, 0, 0, 0) > 0);
			served += 2;
			if (now_ns() - begun > 1200000000) {
				stop = true;
				NEED(!pthread_join(thread, NULL));
			}
		} else if (n < 0) {
			idle++;
			usleep(2000);
		}
	}
	printf("# %d sent, %llu received, %llu dropped by the tap, %llu other calls\n",
	       (int)flood_sent, (unsigned long long)received,
	       (unsigned long long)dropped("tap0"), (unsigned long long)served);
	CHECK(served > 20);
	CHECK(flood_sent > 1000);
	CHECK_EQ(received + dropped("tap0"), flood_sent);
	/* And it is as good as new. */
	host_send(60, 3);
	CHECK_EQ(rx(BUF, 60, 0), 60);
	CHECK(guest_is(BUF, 60, 3));
	teardown();
}

#define SHARED 3000

struct receiver {
	struct vcpu *vcpu;
	pthread_t thread;
	int got, wrong;
	int last[QUEUES]; /* by the tap's queue */
};

static atomic_int seen[SHARED], seen_all;
static bool several_queues;

static void receiver_note(struct receiver *r, uint64_t gpa, int64_t bytes)
{
	int number, queue;

	memcpy(&number, at(&vm, gpa + TAPS_BYTE), 4);
	if (number == SHARED) /* the end */
		return;
	/* The byte that chooses it. */
	queue = several_queues ? number % QUEUES : 0;
	if (bytes != 64 + number % 1000 || number < 0 || number > SHARED ||
	    number <= r->last[queue]) {
		r->wrong++;
		return;
	}
	r->last[queue] = number;
	r->got++;
	seen[number]++;
	seen_all++;
}

/* One frame or up to four at a time; asleep when there is none. */
static void *receiver(void *arg)
{
	struct receiver *r = arg;
	int self = r->vcpu - vm.vcpu;
	uint64_t frames = FRAMES + self * 64;

	for (int i = 0; !stop; i++) {
		int64_t n;

		if (i % 2) {
			call_set(r->vcpu, HCALL_NET_RECV, 0, SLOT(self * 8),
				 1514, 0);
			n = call_run(r->vcpu);
			if (n > 0)
				receiver_note(r, SLOT(self * 8), n);
		} else {
			for (int k = 0; k < 4; k++)
				frame_set(self * 4 + k, SLOT(self * 8 + k),
					  1514);
			call_set(r->vcpu, HCALL_NET_RECVV, 0, frames, 4, 0);
			n = call_run(r->vcpu);
			for (int k = 0; k < n; k++)
				receiver_note(r, SLOT(self * 8 + k),
					      frame(self * 4 + k)->used);
		}
		if (n <= 0 && n != -HCALL_EAGAIN && n != -HCALL_EINTR)
			r->wrong++;
	}
	return NULL;
}

/* Several vCPUs receive at once: each frame comes to one of them, once. */
static void receive_at_once(void)
{
	struct receiver r[MAX_VCPUS] = {};
	uint64_t begun;

	stop = false;
	seen_all = 0;
	memset(seen, 0, sizeof(seen));
	for (int i = 0; i < MAX_VCPUS; i++) {
		r[i].vcpu = &vm.vcpu[i];
		memset(r[i].last, 0xff, sizeof(r[i].last));
		NEED(!pthread_create(&r[i].thread, NULL, receiver, &r[i]));
	}
	begun = now_ns();
	for (int i = 0; i < SHARED; i++) {
		while (i - seen_all > 200 && now_ns() - begun < 60000000000)
			usleep(100);
		fill(data, 64 + i % 1000, i);
		memcpy(data + TAPS_BYTE, &i, 4);
		NEED(send(host, data, 64 + i % 1000, 0) == 64 + i % 1000);
		if (i % 300 == 299)
			usleep(20000); /* time to fall asleep */
	}
	while (seen_all < SHARED && now_ns() - begun < 60000000000)
		usleep(1000);
	stop = true;
	for (int i = 0; i < MAX_VCPUS; i++) {
		/* Whoever sleeps has to wake once to see that it is over. */
		while (pthread_tryjoin_np(r[i].thread, NULL)) {
			int end = SHARED;

			fill(data, 60, 0);
			memcpy(data + TAPS_BYTE, &end, 4);
			NEED(send(host, data, 60, 0) == 60);
			usleep(1000);
		}
	}
	for (int i = 0; i < MAX_VCPUS; i++) {
		printf("# vCPU %d: %d frames\n", i, r[i].got);
		CHECK_EQ(r[i].wrong, 0);
	}
	CHECK_EQ(seen_all, SHARED);
	for (int i = 0; i < SHARED; i++)
		CHECK_EQ(seen[i], 1);
	CHECK_EQ(dropped("tap0"), 0);
}

static void several_vcpus(void)
{
	setup();
	several_queues = false;
	receive_at_once();
	teardown();
}

static void queues_at_once(void)
{
	setup_queues(false);
	several_queues = true;
	receive_at_once();
	teardown_queues();
}

/* Interfaces, features and links come and go while vCPUs send and receive. */
static void *talker(void *arg)
{
	struct receiver *r = arg;
	int self = r->vcpu - vm.vcpu;

	for (int i = 0; !stop; i++) {
		static const uint32_t nrs[] = { HCALL_NET_SEND, HCALL_NET_RECV,
						HCALL_NET_SENDV,
						HCALL_NET_RECVV,
						HCALL_NET_LINK };
		uint32_t nr = nrs[i % 5];
		int64_t n;

		for (int k = 0; k < 4; k++)
			frame_set(self * 4 + k, SLOT(self * 8 + k), 1514);
		if (i % 3 == 0 && nr == HCALL_NET_LINK) {
			call_set(r->vcpu, HCALL_NET_FEATURES, 0,
				 i % 2 ? HCALL_NET_F_GUEST_CSUM : 0, 0, 0);
		} else if (nr == HCALL_NET_SENDV || nr == HCALL_NET_RECVV) {
			call_set(r->vcpu, nr, 0, FRAMES + self * 64, 4,
				 HCALL_NOWAIT);
		} else {
			call_set(r->vcpu, nr, 0, SLOT(self * 8), 1514,
				 HCALL_NOWAIT);
		}
		n = call_run(r->vcpu);
		r->got += n >= 0;
		if (n < 0 && n != -HCALL_EAGAIN && n != -HCALL_EINTR &&
		    n != -HCALL_ENODEV && n != -HCALL_EIO &&
		    n != -HCALL_EINVAL && n != -HCALL_E2BIG)
			r->wrong++;
	}
	return NULL;
}

static void comes_and_goes(void)
{
	struct receiver r[MAX_VCPUS] = {};
	struct kvm_hcall_add add;

	setup_tap(true, 1500);
	stop = false;
	memset(at(&vm, SLOT(0)), 0, 40 * 2053);
	for (int i = 0; i < MAX_VCPUS; i++) {
		r[i].vcpu = &vm.vcpu[i];
		NEED(!pthread_create(&r[i].thread, NULL, talker, &r[i]));
	}
	add = net_add(tap, -1, KVM_HCALL_ADD_VNET_HDR);
	for (int i = 0; i < 200; i++) {
		fill(data, 300, i);
		send(host, data, 300, MSG_DONTWAIT);
		switch (i % 4) {
		case 0:
			vm_remove(&vm, HCALL_CLASS_NET, 0);
			NEED(vm_add_device(&vm, &add) == 0);
			break;
		case 1:
			link_ioctl(0, i & 8 ? KVM_HCALL_LINK_UP : 0, 1500);
			break;
		case 2:
			if_down("tap0");
			break;
		default:
			if_up("tap0");
			break;
		}
		usleep(3000);
	}
	stop = true;
	for (int i = 0; i < MAX_VCPUS; i++) {
		NEED(!pthread_join(r[i].thread, NULL));
		CHECK_EQ(r[i].wrong, 0);
		CHECK(r[i].got > 0);
	}
	teardown();
}

static const struct test tests[] = {
	{ "net.info", info },
	{ "net.sends", sends },
	{ "net.receives", receives },
	{ "net.memory", memory },
	{ "net.mistakes", mistakes },
	{ "net.too_small", too_small },
	{ "net.doors", doors },
	{ "net.batches", batches },
	{ "net.vectors", vectors },
	{ "net.bad_elements", bad_elements },
	{ "net.changing", changing },
	{ "net.sleeps", sleeps },
	{ "net.channel", fires },
	{ "net.link", link_state },
	{ "net.tap_down", tap_down },
	{ "net.tap_deleted", tap_deleted },
	{ "net.unmapped", unmapped },
	{ "net.offload_send", offload_send },
	{ "net.bad_headers", bad_headers },
	{ "net.offload_recv", offload_recv },
	{ "net.features_errors", features_errors },
	{ "net.features_often", features_often },
	{ "net.jumbo", jumbo },
	{ "net.macvtap", macvtap },
	{ "net.pipes", pipes },
	{ "net.pipe_ends", pipe_ends },
	{ "net.add_errors", add_errors },
	{ "net.several", several },
	{ "net.queues", queues },
	{ "net.queues_errors", queues_errors },
	{ "net.flood", flood },
	{ "net.several_vcpus", several_vcpus },
	{ "net.queues_at_once", queues_at_once },
	{ "net.comes_and_goes", comes_and_goes },
};

KTAP_MAIN(tests)
