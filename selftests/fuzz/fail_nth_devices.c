// SPDX-License-Identifier: GPL-2.0
/*
 * Devices for operations with faults.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/input.h>
#include <linux/uinput.h>
#include <net/if.h>
#include <pty.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fail_nth.h"

#define BYTES (1u << 20)

struct vm vm;

void nothing(void)
{
}

struct pair console, keys, net;
static const char *path, *direct_path;

static void pair_new(struct pair *pair, int flags)
{
	NEED(!pipe2(pair->in, O_CLOEXEC | O_NONBLOCK | flags) &&
	     !pipe2(pair->out, O_CLOEXEC | O_NONBLOCK | flags));
}

static void pair_free(struct pair *pair)
{
	for (int i = 0; i < 2; i++) {
		close(pair->in[i]);
		close(pair->out[i]);
	}
}

/* Something to read, room to write. */
void pair_fill(struct pair *pair, const void *data, size_t bytes)
{
	static uint8_t drain[65536];
	int there = 0;

	while (read(pair->out[0], drain, sizeof(drain)) > 0)
		;
	NEED(!ioctl(pair->in[0], FIONREAD, &there));
	if (!there)
		NEED(write(pair->in[1], data, bytes) == (ssize_t)bytes);
}

struct kvm_hcall_add add;
static struct kvm_hcall_input keyboard_says;

int64_t run_add(void)
{
	return vm_add_device(&vm, &add);
}

static void add_set(uint32_t class_id, int fd, int fd_in)
{
	memset(&add, 0, sizeof(add));
	add.class_id = class_id;
	add.fd = fd;
	add.fd_in = fd_in;
	strcpy(add.name, "it");
}

static void add_console(void)
{
	add_set(HCALL_CLASS_CONSOLE, console.out[1], console.in[0]);
}

static int disk_fd;

static void add_disk(const char *file, uint32_t flags)
{
	disk_fd = open(file,
		       O_RDWR | O_CLOEXEC |
			       (flags & KVM_HCALL_ADD_DIRECT ? O_DIRECT : 0));
	NEED(disk_fd >= 0);
	add_set(HCALL_CLASS_BLOCK, disk_fd, -1);
	add.flags = flags;
}

static void add_keys(void)
{
	add_set(HCALL_CLASS_INPUT, keys.out[1], keys.in[0]);
	keyboard_says.codes[EV_KEY][0] = 0xfe;
	keyboard_says.codes[EV_LED][0] = 7;
	add.input = (uintptr_t)&keyboard_says;
}

static void add_net(void)
{
	add_set(HCALL_CLASS_NET, net.out[1], net.in[0]);
	memcpy(add.mac, "\2nth!!", 6);
	add.mtu = 1500;
}

void pairs_new(void)
{
	pair_new(&console, 0);
	pair_new(&keys, 0);
	pair_new(&net, O_DIRECT);
}

void pairs_free(void)
{
	pair_free(&console);
	pair_free(&keys);
	pair_free(&net);
}

void instance_new(void)
{
	vm_bind(&vm);
}

void instance_free(void)
{
	close(vm.hcall);
	vm.hcall = -1;
}

static void disk_added(const char *file, uint32_t flags)
{
	add_disk(file, flags);
	snprintf(add.name, sizeof(add.name), "disk%x", flags);
	NEED(run_add() >= 0);
	close(disk_fd);
}

/* One of each that needs nothing of the host. */
void devices_new(void)
{
	instance_new();
	pairs_new();
	add_console();
	NEED(!run_add());
	add_keys();
	NEED(!run_add());
	add_net();
	NEED(!run_add());
	disk_added(path, 0);
	disk_added(direct_path, KVM_HCALL_ADD_DIRECT);
}

void devices_free(void)
{
	instance_free();
	pairs_free();
}

static void disks_make(void)
{
	const char *dir = getenv("HCALL_EXT4");
	static char direct[256];
	int fd;

	path = make_disk("faults", BYTES);
	snprintf(direct, sizeof(direct), "%s/faults", dir ?: "/tmp");
	fd = open(direct, O_RDWR | O_CREAT | O_TRUNC, 0600);
	NEED(fd >= 0 && !posix_fallocate(fd, 0, BYTES));
	close(fd);
	direct_path = direct;
}

void start(void)
{
	static bool once;

	if (!once)
		disks_make();
	else
		vm_free(&vm); /* of a test that has failed, too */
	once = true;
	vm_new(&vm);
}

void new_console(void)
{
	instance_new();
	pairs_new();
	add_console();
}

void new_keys(void)
{
	instance_new();
	pairs_new();
	add_keys();
}

void new_net(void)
{
	instance_new();
	pairs_new();
	add_net();
}

static int other_fd;

void new_terminal(void)
{
	instance_new();
	NEED(!openpty(&disk_fd, &other_fd, NULL, NULL, NULL));
	NEED(!fcntl(disk_fd, F_SETFL, O_NONBLOCK));
	add_set(HCALL_CLASS_CONSOLE, disk_fd, disk_fd);
}

void free_terminal(void)
{
	instance_free();
	close(disk_fd);
	close(other_fd);
}

void new_disk(void)
{
	instance_new();
	add_disk(path, 0);
}

void new_direct(void)
{
	instance_new();
	add_disk(direct_path, KVM_HCALL_ADD_DIRECT);
}

void new_block_device(void)
{
	instance_new();
	add_disk(getenv("HCALL_LOOP") ?: path, 0);
}

void free_disk(void)
{
	instance_free();
	close(disk_fd);
}

static void *buffer;
int taps[TAPS];

static int tap_open(bool vnet)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int bytes = sizeof(struct hcall_net_header);
	struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI |
					  IFF_MULTI_QUEUE |
					  (vnet ? IFF_VNET_HDR : 0),
			     .ifr_name = "faulty" };

	NEED(fd >= 0 && !ioctl(fd, TUNSETIFF, &req));
	NEED(!vnet || !ioctl(fd, TUNSETVNETHDRSZ, &bytes));
	return fd;
}

static void add_tap(bool vnet, int count)
{
	for (int i = 0; i < TAPS; i++)
		taps[i] = i < count ? tap_open(vnet) : -1;
	add_net();
	add.fd = taps[0];
	add.fd_in = -1;
	if (vnet) {
		add.flags = KVM_HCALL_ADD_VNET_HDR;
		add.buffer = (uintptr_t)buffer;
	}
}

void new_tap(void)
{
	instance_new();
	add_tap(false, 1);
}

void new_vnet_tap(void)
{
	instance_new();
	add_tap(true, 1);
}

static struct kvm_hcall_queues queues;

void new_taps(void)
{
	instance_new();
	add_tap(true, TAPS);
	memset(&queues, 0xff, sizeof(queues));
	queues.flags = 0;
	queues.count = 2;
	queues.fd[0] = taps[1];
	queues.fd[1] = taps[2];
	add.queues = (uintptr_t)&queues;
}

void free_taps(void)
{
	instance_free();
	for (int i = 0; i < TAPS; i++) {
		if (taps[i] >= 0)
			close(taps[i]);
	}
}

void pairs_and_instance_free(void)
{
	instance_free();
	pairs_free();
}

/* The evdev device of a keyboard that uinput makes. */
static int evdev_open(int uinput)
{
	struct uinput_setup setup = { .id = { BUS_USB, 1, 2, 3 },
				      .name = "hcall faulty keyboard" };
	char name[32], file[300];
	struct dirent *entry;
	int fd = -1;
	DIR *dir;

	NEED(uinput >= 0 && !ioctl(uinput, UI_SET_EVBIT, EV_KEY) &&
	     !ioctl(uinput, UI_SET_KEYBIT, KEY_A) &&
	     !ioctl(uinput, UI_SET_EVBIT, EV_LED) &&
	     !ioctl(uinput, UI_SET_LEDBIT, LED_NUML) &&
	     !ioctl(uinput, UI_DEV_SETUP, &setup) &&
	     !ioctl(uinput, UI_DEV_CREATE) &&
	     ioctl(uinput, UI_GET_SYSNAME(sizeof(name)), name) >= 0);
	snprintf(file, sizeof(file), "/sys/devices/virtual/input/%s", name);
	dir = opendir(file);
	NEED(dir);
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "event", 5))
			continue;
		snprintf(file, sizeof(file), "/dev/input/%s", entry->d_name);
		fd = open(file, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	}
	closedir(dir);
	NEED(fd >= 0);
	return fd;
}

int uinput;

void new_evdev(void)
{
	instance_new();
	uinput = open("/dev/uinput", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	disk_fd = evdev_open(uinput);
	pairs_new();
	add_keys();
	add.fd = add.fd_in = disk_fd;
	add.buffer = (uintptr_t)buffer;
}

void free_evdev(void)
{
	pairs_and_instance_free();
	close(disk_fd);
	close(uinput);
}

void host_devices_needed(void)
{
	NEED(!system("modprobe -a tun uinput evdev"));
	NEED(!unshare(CLONE_NEWNET));
	buffer = mmap(NULL, KVM_HCALL_BUFFER_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(buffer != MAP_FAILED);
}
