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

void hcall_add_disk(int fd, const struct disk *disk)
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
		note("disk %s is unit %u: %s", disk->name, add.unit,
		     disk->path);
		return;
	}
	if (errno == ENOSPC)
		die("disk %s is one too many for the module: leave it out",
		    disk->name);
	if (errno == EEXIST)
		die("disk %s: another device has this name; give it a different one",
		    disk->name);
	if (errno == EINVAL && disk->direct)
		die("disk %s: the module refuses %s for direct I/O: make its size a "
		    "multiple of 4096, or leave out ,direct",
		    disk->name, disk->path);
	die("disk %s: the module refuses %s: %s", disk->name, disk->path,
	    strerror(errno));
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
