// SPDX-License-Identifier: MIT
/* Errors in words. */
#include "error.h"
#include "hcall.h"

static const struct {
	int number;
	const char *text;
} errors[] = {
	{ HCALL_EPERM, "EPERM: the owner of the VM denies this" },
	{ HCALL_EINTR, "EINTR: interrupted" },
	{ HCALL_EIO, "EIO: the device on the host failed" },
	{ HCALL_E2BIG, "E2BIG: more than one call can do" },
	{ HCALL_EAGAIN, "EAGAIN: not now" },
	{ HCALL_ENOMEM, "ENOMEM: the host is short of memory" },
	{ HCALL_EFAULT, "EFAULT: not RAM of this VM" },
	{ HCALL_ENODEV, "ENODEV: no such device" },
	{ HCALL_EINVAL, "EINVAL: wrong argument" },
	{ HCALL_ENOSPC, "ENOSPC: the host has no space for the disk" },
	{ HCALL_EROFS, "EROFS: the disk is read-only" },
	{ HCALL_ERANGE, "ERANGE: beyond the end of the disk" },
	{ HCALL_EOPNOTSUPP, "EOPNOTSUPP: the device cannot do this" },
	{ HCALL_ECANCELED, "ECANCELED: an earlier call failed" },
	{ HCALL_ENOSYS, "ENOSYS: the host has no such call" },
	{ ERR_INPUT_ENDED, "the input has ended" },
	{ ERR_CANCELLED, "cancelled" },
	{ ERR_TOO_LONG, "too long" },
	{ ERR_NO_FAT16, "no disk with a FAT16 file system" },
	{ ERR_BLOCK_SIZE, "the disk's blocks are larger than FAT sectors" },
	{ ERR_CORRUPT, "the file system is corrupt" },
	{ ERR_NOT_FOUND, "no such file or directory" },
	{ ERR_NOT_DIRECTORY, "not a directory" },
	{ ERR_IS_DIRECTORY, "is a directory" },
	{ ERR_READ_ONLY, "the file is read-only" },
	{ ERR_BAD_NAME, "a new file needs a name of up to 8.3 characters" },
	{ ERR_DISK_FULL, "no space on the disk" },
	{ ERR_DIRECTORY_FULL, "no space in the directory" },
	{ ERR_NO_CLOCK, "the hypervisor has no pvclock" },
	{ ERR_NO_INPUT, "no input device" },
	{ ERR_NO_NETWORK, "no network interface" },
	{ ERR_LINK_DOWN, "the link is down" },
	{ ERR_NO_ADDRESS, "we have no address yet, try dhcp or ip" },
	{ ERR_NO_ROUTE, "not on our network, and there is no gateway" },
	{ ERR_NO_ANSWER, "no answer" },
	{ ERR_REFUSED, "the server refuses" },
	{ ERR_PROTOCOL, "the server breaks the protocol" },
	{ ERR_NO_CPUS, "no table of CPUs" },
	{ ERR_CPU_DEAD, "a CPU does not start" },
};

const char *error_text(int error)
{
	unsigned int i;

	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		if (errors[i].number == -error)
			return errors[i].text;
	return "unknown error";
}
