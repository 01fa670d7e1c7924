// SPDX-License-Identifier: GPL-2.0
/*
 * The module's side of a guest: an instance of /dev/kvm-hcall, bound to the VM,
 * with its devices, sealed.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hvrun.h"
#include "linux/kvm_hcall.h"

static int open_module(void)
{
	int fd = open(KVM_HCALL_PATH, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		die("no " KVM_HCALL_PATH
		    ": the module is not loaded; load it with: "
		    "sudo insmod kvm_hcall.ko");
	if (errno == EACCES || errno == EPERM)
		die("no permission for " KVM_HCALL_PATH
		    ": give it to the group kvm with "
		    "'sudo cp tools/60-kvm-hcall.rules /etc/udev/rules.d/'\n"
		    "before loading the module, and join that group with "
		    "'sudo usermod -aG kvm $USER'");
	die(KVM_HCALL_PATH ": %s", strerror(errno));
}

int hcall_open(const struct vm *vm)
{
	struct kvm_hcall_bind bind = { .vm_fd = vm->fd };
	int fd = open_module();

	if (ioctl(fd, KVM_HCALL_BIND, &bind) < 0)
		die("the module refuses this VM: %s", strerror(errno));
	return fd;
}

void hcall_add_console(int fd, const struct console *con)
{
	struct kvm_hcall_add add = {
		.class_id = HCALL_CLASS_CONSOLE,
		.name = "console",
	};

	console_fds(con, &add.fd, &add.fd_in);
	console_window(con, &add.columns, &add.rows);
	if (ioctl(fd, KVM_HCALL_ADD, &add) < 0)
		die("the module refuses the console: %s", strerror(errno));
}

/* ENOSPC and EEXIST are the same for all classes. */
static void die_if_no_place(const char *what, const char *name)
{
	if (errno == ENOSPC)
		die("%s %s is one too many for the module: leave it out", what,
		    name);
	if (errno == EEXIST)
		die("%s %s: another device has this name; give it a different one",
		    what, name);
}

void hcall_add_disk(int fd, struct disk *disk)
{
	struct kvm_hcall_add add = {
		.class_id = HCALL_CLASS_BLOCK,
		.flags = (disk->read_only ? KVM_HCALL_ADD_READONLY : 0) |
			 (disk->direct ? KVM_HCALL_ADD_DIRECT : 0),
		.fd = disk->fd,
		.fd_in = -1,
	};

	memcpy(add.name, disk->name, sizeof(add.name));
	if (ioctl(fd, KVM_HCALL_ADD, &add) == 0) {
		disk->unit = add.unit;
		note("disk %s is unit %u: %s", disk->name, add.unit,
		     disk->path);
		return;
	}
	die_if_no_place("disk", disk->name);
	if (errno == EINVAL && disk->direct)
		die("disk %s: the module refuses %s for direct I/O: make its size a "
		    "multiple of 4096, or leave out ,direct",
		    disk->name, disk->path);
	die("disk %s: the module refuses %s: %s", disk->name, disk->path,
	    strerror(errno));
}

void hcall_add_net(int fd, struct net *net)
{
	struct kvm_hcall_queues queues = { .count = net->queues - 1 };
	struct kvm_hcall_add add = {
		.class_id = HCALL_CLASS_NET,
		.flags = net->vnet_hdr ? KVM_HCALL_ADD_VNET_HDR : 0,
		.fd = net->fd,
		.fd_in = net->fd_in,
		.buffer = (uintptr_t)net->buffer,
		.mtu = net->mtu,
		.queues = net->queues > 1 ? (uintptr_t)&queues : 0,
	};

	_Static_assert(NET_QUEUES_MAX == KVM_HCALL_MAX_QUEUES, "the module's");
	for (unsigned int i = 0; i < NET_QUEUES_MAX - 1; i++)
		queues.fd[i] = i < queues.count ? net->more[i] : -1;
	memcpy(add.name, net->name, sizeof(add.name));
	memcpy(add.mac, net->mac, sizeof(add.mac));
	if (ioctl(fd, KVM_HCALL_ADD, &add) < 0) {
		die_if_no_place("net", net->name);
		die("net %s: the module refuses it: %s", net->name,
		    strerror(errno));
	}
	net->unit = add.unit;
}

void hcall_add_input(int fd, const struct input *input)
{
	struct kvm_hcall_add add = {
		.class_id = HCALL_CLASS_INPUT,
		.fd = input->fd,
		.fd_in = input->fd_in,
		.buffer = (uintptr_t)input->buffer,
		.input = (uintptr_t)input->description,
	};

	memcpy(add.name, input->name, sizeof(add.name));
	if (ioctl(fd, KVM_HCALL_ADD, &add) < 0) {
		die_if_no_place("input", input->name);
		die("input %s: the module refuses it: %s", input->name,
		    strerror(errno));
	}
	note("input %s is unit %u: %s (%s)", input->name, add.unit,
	     input->path ? input->path : "stdin", input->description->name);
}

void hcall_seal(int fd)
{
	if (ioctl(fd, KVM_HCALL_SEAL) < 0)
		die("the module cannot seal the set of devices: %s",
		    strerror(errno));
}

void hcall_resize(int fd, const struct console *con)
{
	struct kvm_hcall_resize resize = { .class_id = HCALL_CLASS_CONSOLE };

	console_window(con, &resize.columns, &resize.rows);
	if (ioctl(fd, KVM_HCALL_RESIZE, &resize) < 0)
		note("the guest is not told of the new window size: %s",
		     strerror(errno));
}

void hcall_resize_disk(int fd, const struct disk *disk)
{
	struct kvm_hcall_resize resize = { .class_id = HCALL_CLASS_BLOCK,
					   .unit = disk->unit };

	if (ioctl(fd, KVM_HCALL_RESIZE, &resize) == 0)
		note("disk %s: the guest is told the size of %s", disk->name,
		     disk->path);
	else if (errno == EINVAL)
		say("disk %s: the guest is not told the new size of %s: it is 0 or "
		    "no multiple of the disk's blocks",
		    disk->name, disk->path);
	else
		say("disk %s: the guest is not told the new size of %s: %s",
		    disk->name, disk->path, strerror(errno));
}

void hcall_set_link(int fd, const struct net *net)
{
	struct kvm_hcall_link link = {
		.flags = net->up ? KVM_HCALL_LINK_UP : 0,
		.unit = net->unit,
		.mtu = net->mtu,
	};

	if (ioctl(fd, KVM_HCALL_LINK, &link) < 0)
		note("the guest is not told of the link of %s: %s", net->name,
		     strerror(errno));
}
