// SPDX-License-Identifier: GPL-2.0
/*
 * Process 1 of the Linux guest of guests.c: loads what is in /modules, and does
 * what the frames that come in order, see guests.h.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "guests.h"

static int disk, orders, data;
static aio_context_t aio;
static uint8_t *buffer; /* DEPTH blocks, or BULK frames */

#define NEED(cond)                                                          \
	do {                                                                \
		if (!(cond))                                                \
			give_up("guest.c:%d: not true: %s: %m\n", __LINE__, \
				#cond);                                     \
	} while (0)

/* To the kernel's log, and so to the console. */
#define give_up(...)                                    \
	do {                                            \
		int log_ = open("/dev/kmsg", O_WRONLY); \
                                                        \
		dprintf(log_, "<0>" __VA_ARGS__);       \
		exit(1); /* panics */                   \
	} while (0)

/* ---- Coming up --------------------------------------------------------------- */

static void load(const char *name)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "/modules/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	NEED(fd >= 0);
	/* The transport of one launcher is of no use in the other. */
	NEED(!syscall(SYS_finit_module, fd, "", 0) || errno == ENODEV);
	close(fd);
}

static void load_all(void)
{
	struct dirent **entry;
	int n = scandir("/modules", &entry, NULL, alphasort);

	NEED(n > 2);
	for (int i = 0; i < n; i++) {
		if (entry[i]->d_name[0] != '.')
			load(entry[i]->d_name);
	}
}

/* Devices may come after their drivers, by a worker.  It needs no timer. */
static bool soon(bool (*is_there)(void))
{
	for (int i = 0; i < 1000000; i++) {
		if (is_there())
			return true;
		NEED(!sched_yield());
	}
	return false;
}

static bool disk_there(void)
{
	disk = open("/dev/vda", O_RDONLY | O_DIRECT | O_CLOEXEC);
	return disk >= 0;
}

static bool interface_there(void)
{
	return if_nametoindex("eth0");
}

static int packet(uint16_t ethertype)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ethertype),
		.sll_ifindex = if_nametoindex("eth0"),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	NEED(fd >= 0);
	NEED(!bind(fd, (struct sockaddr *)&to, sizeof(to)));
	return fd;
}

static int control;

/* What is sent before would be lost. */
static bool interface_running(void)
{
	struct ifreq ifr = { .ifr_name = "eth0" };

	NEED(!ioctl(control, SIOCGIFFLAGS, &ifr));
	return ifr.ifr_flags & IFF_RUNNING;
}

static void interface_up(void)
{
	struct ifreq ifr = { .ifr_name = "eth0", .ifr_flags = IFF_UP };

	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	NEED(control >= 0);
	NEED(!ioctl(control, SIOCSIFFLAGS, &ifr));
	NEED(soon(interface_running));
}

/* ---- Work ---------------------------------------------------------------------- */

/* CPUID always is for the hypervisor. */
static void leave(uint32_t turns)
{
	uint32_t a, b, c, d;

	for (; turns; turns--)
		__cpuid(0, a, b, c, d);
}

static int64_t sum(void)
{
	uint64_t all = 0;

	for (uint32_t i = 0; i < DISK / BLOCK; i++) {
		NEED(pread(disk, buffer, BLOCK, (off_t)i * BLOCK) == BLOCK);
		all += block_sum(buffer, i);
	}
	return all >> 1; /* not negative */
}

/* Blocks that do not follow each other, so that no two become one request. */
static off_t place(uint32_t turn)
{
	return (off_t)(turn * 37 % (DISK / BLOCK)) * BLOCK;
}

static void read_blocks(uint32_t turns)
{
	for (uint32_t i = 0; i < turns; i++)
		NEED(pread(disk, buffer, BLOCK, place(i)) == BLOCK);
}

static void read_deep(uint32_t turns)
{
	struct iocb iocb[DEPTH], *list[DEPTH];
	struct io_event event[DEPTH];

	for (uint32_t turn = 0; turn < turns; turn++) {
		for (uint32_t i = 0; i < DEPTH; i++) {
			list[i] = &iocb[i];
			iocb[i] = (struct iocb){
				.aio_lio_opcode = IOCB_CMD_PREAD,
				.aio_fildes = disk,
				.aio_buf = (uintptr_t)(buffer + i * BLOCK),
				.aio_nbytes = BLOCK,
				.aio_offset = place(turn * DEPTH + i),
			};
		}
		NEED(syscall(SYS_io_submit, aio, DEPTH, list) == DEPTH);
		NEED(syscall(SYS_io_getevents, aio, DEPTH, DEPTH, event,
			     NULL) == DEPTH);
		for (uint32_t i = 0; i < DEPTH; i++)
			NEED(event[i].res == BLOCK);
	}
}

static void send_bulk(uint32_t turns, uint32_t bytes)
{
	struct iovec iov = { buffer, bytes };
	struct mmsghdr message[BULK] = {};

	frame_fill(buffer, bytes, bench_mac, guest_mac);
	for (uint32_t i = 0; i < BULK; i++) {
		message[i].msg_hdr.msg_iov = &iov;
		message[i].msg_hdr.msg_iovlen = 1;
	}
	for (; turns; turns--) {
		for (uint32_t i = 0; i < BULK;) {
			int n = sendmmsg(data, message + i, BULK - i, 0);

			NEED(n > 0);
			i += n;
		}
	}
}

static void receive(uint32_t turns, uint32_t bytes, bool echo)
{
	uint8_t want[MAX_FRAME];

	frame_fill(want, bytes, guest_mac, bench_mac);
	for (; turns; turns--) {
		NEED(recv(data, buffer, MAX_FRAME, 0) == bytes);
		NEED(!memcmp(buffer, want, bytes));
		if (echo) {
			frame_head(buffer, bench_mac, guest_mac,
				   ETHERTYPE_DATA);
			NEED(send(data, buffer, bytes, 0) == bytes);
		}
	}
}

static int64_t obey(const struct order *order)
{
	uint32_t bytes = order->bytes, turns = order->turns;

	NEED(bytes <= MAX_FRAME);
	switch (order->work) {
	case WORK_NOTHING:
		return 0;
	case WORK_EXIT:
		leave(turns);
		return 0;
	case WORK_SUM:
		return sum();
	case WORK_READ:
		read_blocks(turns);
		return 0;
	case WORK_READ_DEEP:
		read_deep(turns);
		return 0;
	case WORK_SEND_BULK:
		send_bulk(turns, bytes);
		return 0;
	case WORK_RECEIVE:
	case WORK_ECHO:
		receive(turns, bytes, order->work == WORK_ECHO);
		return 0;
	}
	return -ENOSYS;
}

static void answer(struct order *order)
{
	frame_head(order->to, bench_mac, guest_mac, ETHERTYPE_ORDER);
	NEED(send(orders, order, sizeof(*order), 0) == sizeof(*order));
}

int main(void)
{
	struct order order = {};
	uint32_t bytes = DEPTH * BLOCK;

	NEED(!mount("dev", "/dev", "devtmpfs", 0, NULL) || errno == EBUSY);
	load_all();
	NEED(soon(disk_there));
	NEED(soon(interface_there));
	interface_up();
	orders = packet(ETHERTYPE_ORDER);
	data = packet(ETHERTYPE_DATA);
	NEED(!syscall(SYS_io_setup, DEPTH, &aio));
	NEED(!posix_memalign((void **)&buffer, BLOCK, bytes));
	memset(buffer, 1, bytes);
	for (;;) {
		answer(&order); /* the first: here I am */
		NEED(recv(orders, &order, sizeof(order), 0) == sizeof(order));
		order.answer = obey(&order);
	}
}
