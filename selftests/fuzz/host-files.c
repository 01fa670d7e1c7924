// SPDX-License-Identifier: GPL-2.0
/*
 * Files of every sort that a launcher could give to the module, by mistake or not.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <linux/uinput.h>
#include <linux/userfaultfd.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "host.h"

const char *disk_dir;
const char *block_device;

/* ---- The table ------------------------------------------------------------------- */

void files_close(struct files *files, uint32_t at)
{
	file_t file = atomic_exchange(&files->file[at], 0);

	/* Whoever has taken it out is the only one that closes it. */
	if (file)
		close(file_fd(file));
}

void files_add(struct files *files, struct random *r, int fd, enum kind kind)
{
	uint32_t at = below(r, FILES);
	file_t file, old;

	if (fd < 0)
		return;
	if (fd > 0xfff0) {
		close(fd);
		return;
	}
	file = (uint64_t)(atomic_fetch_add(&files->generation, 1) + 1) << 24 |
	       kind << 16 | (uint32_t)(fd + 1);
	/* The oldest go when there are too many. */
	for (int i = 0; i < FILES; i++) {
		old = 0;
		if (atomic_compare_exchange_strong(
			    &files->file[(at + i) % FILES], &old, file))
			return;
	}
	old = atomic_exchange(&files->file[at], file);
	if (old)
		close(file_fd(old));
}

static bool is_kind(file_t file, int kind)
{
	return file && (kind < 0 || file_kind(file) == (enum kind)kind);
}

static file_t look(struct files *files, struct random *r, int kind,
		   uint32_t *at)
{
	uint32_t from = below(r, FILES);

	for (uint32_t i = 0; i < FILES; i++) {
		uint32_t n = (from + i) % FILES;
		file_t file = atomic_load(&files->file[n]);

		if (is_kind(file, kind)) {
			*at = n;
			return file;
		}
	}
	return 0;
}

file_t files_any(struct files *files, struct random *r, uint32_t *at)
{
	return look(files, r, -1, at);
}

file_t files_of(struct files *files, struct random *r, enum kind kind,
		uint32_t *at)
{
	return look(files, r, kind, at);
}

/* ---- Useful ones ------------------------------------------------------------------- */

static int open_in(const char *dir, const char *name, int flags)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, flags | O_CLOEXEC, 0600);
}

static int open_disk(struct random *r, int flags)
{
	static const char *const names[] = { "whole", "odd", "empty", "moves" };

	if (block_device && one_in(r, 3))
		return open(block_device, flags | O_CLOEXEC);
	/* Most often one that will do. */
	return open_in(disk_dir, names[one_in(r, 3) ? below(r, 4) : 0], flags);
}

static int open_tap(struct random *r, int slot, bool vnet)
{
	bool macvtap = one_in(r, 6);
	int fd = open(macvtap ? shared->macvtap : "/dev/net/tun",
		      O_RDWR | O_CLOEXEC | (one_in(r, 4) ? 0 : O_NONBLOCK));
	int bytes = one_in(r, 8) ? 10 : sizeof(struct hcall_net_header);
	struct ifreq req = { .ifr_flags = one_in(r, 16) ? IFF_TUN : IFF_TAP };

	if (fd < 0)
		return -1;
	/* Without an interface. */
	if (one_in(r, 16))
		return fd;
	if (!one_in(r, 16))
		req.ifr_flags |= IFF_NO_PI;
	if (vnet)
		req.ifr_flags |= IFF_VNET_HDR;
	if (!macvtap) {
		req.ifr_flags |= IFF_MULTI_QUEUE;
		snprintf(req.ifr_name, IFNAMSIZ, "hf%d%c%u", slot,
			 vnet ? 'v' : 'p', below(r, 3));
	}
	if (!ioctl(fd, TUNSETIFF, &req) && vnet)
		ioctl(fd, TUNSETVNETHDRSZ, &bytes);
	return fd;
}

int keyboard_make(void)
{
	struct uinput_setup setup = { .id = { BUS_USB, 1, 2, 3 },
				      .name = "hcall fuzzed keyboard" };
	int fd = open("/dev/uinput", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	char name[32], path[96];
	struct dirent *entry;
	DIR *dir;

	NEED(fd >= 0 && !ioctl(fd, UI_SET_EVBIT, EV_KEY) &&
	     !ioctl(fd, UI_SET_KEYBIT, KEY_A) &&
	     !ioctl(fd, UI_SET_EVBIT, EV_LED) &&
	     !ioctl(fd, UI_SET_LEDBIT, LED_NUML) &&
	     !ioctl(fd, UI_DEV_SETUP, &setup) && !ioctl(fd, UI_DEV_CREATE) &&
	     ioctl(fd, UI_GET_SYSNAME(sizeof(name)), name) >= 0);
	snprintf(path, sizeof(path), "/sys/devices/virtual/input/%s", name);
	dir = opendir(path);
	NEED(dir);
	while ((entry = readdir(dir))) {
		if (!strncmp(entry->d_name, "event", 5))
			snprintf(shared->evdev, sizeof(shared->evdev),
				 "/dev/input/%.40s", entry->d_name);
	}
	closedir(dir);
	return fd;
}

/* ---- Odd ones ------------------------------------------------------------------------ */

static int socket_one(int type)
{
	int fd[2];

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fd))
		return -1;
	close(fd[1]);
	return fd[0];
}

static int epoll_full(struct files *files, struct random *r)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT };

	for (int i = 0; i < 3; i++) {
		uint32_t at;
		file_t file = files_any(files, r, &at);

		if (file)
			epoll_ctl(fd, EPOLL_CTL_ADD, file_fd(file), &event);
	}
	return fd;
}

static int bpf_map(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = 8,
		.max_entries = 1,
	};

	return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static int bpf_program(void)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (uintptr_t)insns,
		.insn_cnt = 2,
		.license = (uintptr_t) "GPL",
	};

	return syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
}

static int userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		ioctl(fd, UFFDIO_API, &api);
	return fd;
}

static int signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int inside_out(struct random *r, int flags)
{
	return open_in(disk_dir, one_in(r, 2) ? "whole" : ".",
		       flags | O_CLOEXEC);
}

static int make_odd(struct files *files, struct random *r)
{
	switch (below(r, 22)) {
	case 0:
		return open(disk_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	case 1:
		return inside_out(r, O_PATH);
	case 2:
		return open_in(disk_dir, "whole", O_WRONLY);
	case 3:
		return open_in(disk_dir, "whole", O_RDWR | O_APPEND);
	case 4:
		return open_in(disk_dir, "unnamed", O_RDWR | O_CREAT);
	case 5:
		return socket_one(SOCK_STREAM);
	case 6:
		return socket_one(SOCK_DGRAM);
	case 7:
		return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	case 8:
		return epoll_full(files, r);
	case 9:
		return memfd_create("fuzz", MFD_CLOEXEC);
	case 10:
		return syscall(SYS_pidfd_open, getpid(), 0);
	case 11:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	case 12:
		return open("/dev/full", O_RDWR | O_CLOEXEC);
	case 13:
		return open("/dev/zero", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	case 14:
		return open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	case 15:
		return userfaultfd();
	case 16:
		return bpf_map();
	case 17:
		return bpf_program();
	case 18:
		return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	case 19:
		return signals();
	case 20:
		return inotify_init1(IN_CLOEXEC);
	default:
		return open("/dev/kvm", O_RDWR | O_CLOEXEC);
	}
}

/* ---- All of them ------------------------------------------------------------------------ */

static void make_pipe(struct files *files, struct random *r, bool frames)
{
	int flags = O_CLOEXEC | (one_in(r, 2) ? O_NONBLOCK : 0) |
		    (frames ? O_DIRECT : 0);
	int fd[2];

	if (pipe2(fd, flags))
		return;
	/* Something to read, and not too much room to write. */
	if (one_in(r, 2))
		fcntl(fd[1], F_SETPIPE_SZ, 4096);
	if (write(fd[1], fd, sizeof(fd)) < 0)
		finding("a new pipe takes no byte: %s", strerror(errno));
	files_add(files, r, fd[0], frames ? FRAMES_IN : PIPE_IN);
	files_add(files, r, fd[1], frames ? FRAMES_OUT : PIPE_OUT);
}

void files_make(struct files *files, struct random *r, int slot, enum kind kind)
{
	/* What lives on past an exec, too. */
	int keep = one_in(r, 8) ? 0 : O_CLOEXEC;
	int fd = -1;

	switch (kind) {
	case INSTANCE:
		fd = open(KVM_HCALL_PATH, O_RDWR | keep);
		if (fd >= 0)
			atomic_fetch_add(&shared->instances, 1);
		break;
	case EVENTFD:
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		break;
	case PIPE_IN:
	case PIPE_OUT:
		make_pipe(files, r, false);
		return;
	case FRAMES_IN:
	case FRAMES_OUT:
		make_pipe(files, r, true);
		return;
	case DISK:
		fd = open_disk(r, O_RDWR);
		break;
	case DISK_READONLY:
		fd = open_disk(r, O_RDONLY);
		break;
	case DISK_DIRECT:
		fd = open_disk(r, O_RDWR | O_DIRECT);
		break;
	case LOG:
		fd = open_in(disk_dir, "log", O_WRONLY | O_APPEND | O_CREAT);
		break;
	case TERMINAL:
		fd = open("/dev/ptmx",
			  O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
		break;
	case KEYBOARD:
		fd = open(shared->evdev,
			  O_RDWR | O_CLOEXEC | (one_in(r, 8) ? 0 : O_NONBLOCK));
		break;
	case TAP:
	case TAP_VNET:
		fd = open_tap(r, slot, kind == TAP_VNET);
		break;
	case ODD:
		fd = make_odd(files, r);
		break;
	default: /* a VM's, see host-process.c */
		return;
	}
	files_add(files, r, fd, kind);
}
