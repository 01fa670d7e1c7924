/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * ioctls of /dev/kvm-hcall.
 *
 * open() makes an instance.  BIND ties it to a VM, ADD gives the VM devices,
 * POLICY says what becomes of each class of calls, SEAL ends the set-up, and
 * closing the last descriptor undoes everything.  Calls are answered from BIND
 * on; devices are added after it, a policy may be set before.
 *
 * Every structure starts with a flags word; unknown flags and reserved fields
 * that are not 0 are -EINVAL, memory that is not there, or not writable where a
 * structure has an OUT, is -EFAULT, an unknown command is -ENOTTY.  After BIND the
 * ioctls are for the process that made it; for another they are -EIO.  Whatever the
 * error, nothing has changed.
 */
#ifndef _UAPI_LINUX_KVM_HCALL_H
#define _UAPI_LINUX_KVM_HCALL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define KVM_HCALL_PATH "/dev/kvm-hcall"

/* The layout is the same for 32-bit and 64-bit callers; checked when built. */
#define KVM_HCALL_ASSERT(name, cond) \
	typedef char kvm_hcall_assert_##name[(cond) ? 1 : -1]
#define KVM_HCALL_ASSERT_OFFSET(type, member, offset)   \
	KVM_HCALL_ASSERT(type##_##member##_at_##offset, \
			 __builtin_offsetof(struct type, member) == (offset))

#define KVM_HCALL_IOC	    'H' /* 0xB0 to 0xBF, which nobody else has */

/* Devices of a class in a VM: units 0 to 63. */
#define KVM_HCALL_MAX_UNITS 64

/**
 * struct kvm_hcall_bind - argument of KVM_HCALL_BIND
 * @flags:    0
 * @vm_fd:    from KVM_CREATE_VM, of this process
 * @reserved: 0
 *
 * Errors: -EINVAL (not a VM), -EBADF, -EBUSY (the VM is bound already, or
 * this instance is), -ENOMEM.
 */
struct kvm_hcall_bind {
	__u32 flags;
	__s32 vm_fd;
	__u64 reserved[3];
};

KVM_HCALL_ASSERT(kvm_hcall_bind_size, sizeof(struct kvm_hcall_bind) == 32);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_bind, flags, 0);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_bind, vm_fd, 4);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_bind, reserved, 8);

#define KVM_HCALL_NAME_BYTES   40

/* Flags of struct kvm_hcall_add. */
#define KVM_HCALL_ADD_READONLY (1 << 0) /* block: refuse writes */
#define KVM_HCALL_ADD_DIRECT   (1 << 1) /* block: @fd was opened with O_DIRECT */
#define KVM_HCALL_ADD_VNET_HDR \
	(1 << 2) /* net: @fd is a tap with IFF_VNET_HDR */

/* What @buffer of struct kvm_hcall_add has room for. */
#define KVM_HCALL_BUFFER_BYTES 4096

/* A network interface's queues. */
#define KVM_HCALL_MAX_QUEUES   16

/**
 * struct kvm_hcall_queues - more queues of a network interface
 * @flags: 0
 * @count: 1 to KVM_HCALL_MAX_QUEUES - 1
 * @fd:    so many descriptors of the same tap or macvtap, each opened with
 *         IFF_MULTI_QUEUE and otherwise as the first; the rest: -1
 */
struct kvm_hcall_queues {
	__u32 flags;
	__u32 count;
	__s32 fd[KVM_HCALL_MAX_QUEUES - 1];
};

KVM_HCALL_ASSERT(kvm_hcall_queues_size, sizeof(struct kvm_hcall_queues) == 68);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_queues, flags, 0);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_queues, count, 4);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_queues, fd, 8);

/**
 * struct kvm_hcall_add - argument of KVM_HCALL_ADD
 * @flags:    KVM_HCALL_ADD_*
 * @class_id: HCALL_CLASS_CONSOLE, _BLOCK, _INPUT or _NET
 * @unit:     IN: 0; OUT: what the guest calls it
 * @fd:       where the guest's data goes to
 * @fd_in:    where it comes from, if not from @fd; or -1
 * @columns:  console: width, 0: not known
 * @rows:     console: height, up to 32767, 0: not known
 * @name:     shown to the guest; visible ASCII, no blanks, NUL-terminated,
 *            zero-padded; no two devices of a class have the same
 * @buffer:   input from evdev, net with VNET_HDR: KVM_HCALL_BUFFER_BYTES of
 *            this process's memory, for the module's use alone as long as the
 *            device is there; else 0
 * @input:    input: address of a struct kvm_hcall_input; else 0
 * @mac:      net: the guest's Ethernet address, not multicast, not 0
 * @mtu:      net: 68 to 65535
 * @queues:   net: address of a struct kvm_hcall_queues, if a tap has more than
 *            one; else 0
 *
 * console: @fd and @fd_in are pipes, or the master of a pseudo-terminal opened
 * with O_NONBLOCK, or (@fd only) a regular file opened with O_APPEND.  @fd_in
 * -1: no input.
 * block: @fd is a regular file or block device, not opened with O_APPEND; its
 * size is a multiple of 512 bytes (with O_DIRECT, of what direct I/O wants) and
 * is what it is at this call until KVM_HCALL_RESIZE.  @fd_in is -1.
 * input: @fd_in is an evdev device opened with O_NONBLOCK, or a pipe that brings
 * struct hcall_input_event, each written in one piece; @fd is for the guest's
 * LED events: the same device, or another pipe, or -1.
 * net: @fd is a tap or macvtap with IFF_NO_PI, with a header of 12 bytes
 * (TUNSETVNETHDRSZ) if VNET_HDR, and @fd_in is -1; or both are pipes opened with
 * O_DIRECT, in which each packet is a frame, and @mtu is at most 4078.
 *
 * Return: 0.  Errors: -EINVAL, -EBADF, -EACCES (a descriptor was not opened for
 * this), -EFAULT (@input, @queues), -ENOTCONN (not bound yet), -EPERM (sealed), -ENOSPC
 * (no more units), -EEXIST (the name is taken), -ENOMEM.
 */
struct kvm_hcall_add {
	__u32 flags;
	__u32 class_id;
	__u32 unit;
	__s32 fd;
	__s32 fd_in;
	__u16 columns;
	__u16 rows;
	char name[KVM_HCALL_NAME_BYTES];
	__u64 buffer;
	__u64 input;
	__u8 mac[6];
	__u16 mtu;
	__u64 queues;
};

KVM_HCALL_ASSERT(kvm_hcall_add_size, sizeof(struct kvm_hcall_add) == 96);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_add, flags, 0);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_add, class_id, 4);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_add, unit, 8);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_add, fd, 12);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_add, fd_in, 16);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_add, columns, 20);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_add, rows, 22);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_add, name, 24);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_add, buffer, 64);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_add, input, 72);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_add, mac, 80);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_add, mtu, 86);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_add, queues, 88);

#define KVM_HCALL_INPUT_TEXT_BYTES 128
#define KVM_HCALL_INPUT_TYPES	   32 /* EV_CNT */
#define KVM_HCALL_INPUT_CODE_BYTES 96 /* KEY_CNT / 8 */
#define KVM_HCALL_INPUT_AXES	   64 /* ABS_CNT */

/**
 * struct kvm_hcall_axis - the range of an absolute axis, as struct input_absinfo
 * @min:        smallest position
 * @max:        largest position
 * @fuzz:       noise to filter out
 * @flat:       around the middle of a joystick
 * @resolution: units per mm, or per radian
 */
struct kvm_hcall_axis {
	__s32 min;
	__s32 max;
	__u32 fuzz;
	__u32 flat;
	__u32 resolution;
};

KVM_HCALL_ASSERT(kvm_hcall_axis_size, sizeof(struct kvm_hcall_axis) == 20);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_axis, min, 0);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_axis, max, 4);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_axis, fuzz, 8);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_axis, flat, 12);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_axis, resolution, 16);

/**
 * struct kvm_hcall_input - what the guest is told of an input device
 * @flags:      0
 * @reserved:   0
 * @bustype:    as EVIOCGID says
 * @vendor:     the same
 * @product:    the same
 * @version:    the same
 * @name:       NUL-terminated, zero-padded; may be empty
 * @serial:     the same
 * @properties: a bitmap of INPUT_PROP_*
 * @codes:      for each EV_* a bitmap of its codes, as EVIOCGBIT says; an empty
 *              one: the device has no such events; [0] (EV_SYN) is empty
 * @axes:       for each ABS_* in @codes
 */
struct kvm_hcall_input {
	__u32 flags;
	__u32 reserved;
	__u16 bustype;
	__u16 vendor;
	__u16 product;
	__u16 version;
	char name[KVM_HCALL_INPUT_TEXT_BYTES];
	char serial[KVM_HCALL_INPUT_TEXT_BYTES];
	__u8 properties[16];
	__u8 codes[KVM_HCALL_INPUT_TYPES][KVM_HCALL_INPUT_CODE_BYTES];
	struct kvm_hcall_axis axes[KVM_HCALL_INPUT_AXES];
};

KVM_HCALL_ASSERT(kvm_hcall_input_size, sizeof(struct kvm_hcall_input) == 4640);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_input, flags, 0);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_input, reserved, 4);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_input, bustype, 8);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_input, vendor, 10);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_input, product, 12);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_input, version, 14);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_input, name, 16);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_input, serial, 144);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_input, properties, 272);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_input, codes, 288);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_input, axes, 3360);

/**
 * struct kvm_hcall_remove - argument of KVM_HCALL_REMOVE
 * @flags:    0
 * @class_id: HCALL_CLASS_*
 * @unit:     from KVM_HCALL_ADD
 * @reserved: 0
 *
 * When it returns, no call uses the device any more and its descriptors have
 * been let go.  Also after SEAL.  Errors: -ENODEV, -EINVAL.
 */
struct kvm_hcall_remove {
	__u32 flags;
	__u32 class_id;
	__u32 unit;
	__u32 reserved[5];
};

KVM_HCALL_ASSERT(kvm_hcall_remove_size, sizeof(struct kvm_hcall_remove) == 32);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_remove, flags, 0);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_remove, class_id, 4);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_remove, unit, 8);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_remove, reserved, 12);

/**
 * struct kvm_hcall_resize - argument of KVM_HCALL_RESIZE
 * @flags:    0
 * @class_id: HCALL_CLASS_CONSOLE or _BLOCK
 * @unit:     from KVM_HCALL_ADD
 * @columns:  console: new width, 0: not known; block: 0
 * @rows:     console: new height, up to 32767, 0: not known; block: 0
 * @reserved: 0
 *
 * block: what is behind the disk has grown or has been cut, and the module looks
 * again how big it is.
 *
 * The device's channel fires.  Also after SEAL.  Errors: -ENODEV, -EINVAL (block:
 * the size is now 0, or not a multiple of what calls are in), or what the file
 * system says when it is asked.  After an error nothing has changed.
 */
struct kvm_hcall_resize {
	__u32 flags;
	__u32 class_id;
	__u32 unit;
	__u16 columns;
	__u16 rows;
	__u32 reserved[4];
};

KVM_HCALL_ASSERT(kvm_hcall_resize_size, sizeof(struct kvm_hcall_resize) == 32);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_resize, flags, 0);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_resize, class_id, 4);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_resize, unit, 8);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_resize, columns, 12);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_resize, rows, 14);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_resize, reserved, 16);

/* What becomes of the calls of a class. */
#define KVM_HCALL_HANDLE  0 /* the module answers; the default */
#define KVM_HCALL_DENY	  1 /* -HCALL_EPERM; PROBE says 0 */
#define KVM_HCALL_FORWARD 2 /* KVM_EXIT_HYPERCALL to the launcher */

/**
 * struct kvm_hcall_policy - argument of KVM_HCALL_POLICY
 * @flags:     0
 * @class_id:  0 to 255
 * @action:    KVM_HCALL_HANDLE, _DENY or _FORWARD
 * @reserved:  0
 * @functions: FORWARD: what PROBE answers, below 1 << 63; else 0
 * @reserved2: 0
 *
 * Class 0 (sys) cannot be forwarded.  Errors: -EINVAL, -EPERM (sealed).
 */
struct kvm_hcall_policy {
	__u32 flags;
	__u32 class_id;
	__u32 action;
	__u32 reserved;
	__u64 functions;
	__u64 reserved2;
};

KVM_HCALL_ASSERT(kvm_hcall_policy_size, sizeof(struct kvm_hcall_policy) == 32);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_policy, flags, 0);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_policy, class_id, 4);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_policy, action, 8);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_policy, reserved, 12);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_policy, functions, 16);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_policy, reserved2, 24);

/**
 * struct kvm_hcall_stats - argument of KVM_HCALL_STATS
 * @flags:     0
 * @class_id:  IN: 0 to 255
 * @calls:     OUT: calls and batch elements of this class
 * @errors:    OUT: those that were answered with a negative number
 * @bytes:     OUT: moved from or to guest memory on behalf of the guest
 * @denied:    OUT: those that policy or a BPF program denied
 * @forwarded: OUT: those that went to the launcher
 * @reserved:  0
 *
 * Counts since BIND.  Classes that this module knows nothing of are counted
 * together, under any of their numbers.
 */
struct kvm_hcall_stats {
	__u32 flags;
	__u32 class_id;
	__u64 calls;
	__u64 errors;
	__u64 bytes;
	__u64 denied;
	__u64 forwarded;
	__u64 reserved[2];
};

KVM_HCALL_ASSERT(kvm_hcall_stats_size, sizeof(struct kvm_hcall_stats) == 64);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_stats, flags, 0);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_stats, class_id, 4);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_stats, calls, 8);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_stats, errors, 16);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_stats, bytes, 24);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_stats, denied, 32);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_stats, forwarded, 40);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_stats, reserved, 48);

/* Flags of struct kvm_hcall_link. */
#define KVM_HCALL_LINK_UP (1 << 0)

/**
 * struct kvm_hcall_link - argument of KVM_HCALL_LINK
 * @flags:    KVM_HCALL_LINK_UP or 0: the link is down
 * @unit:     of a network interface, from KVM_HCALL_ADD
 * @mtu:      68 to 65535
 * @reserved: 0
 *
 * What LINK and DEVICE tell the guest; the device's channel fires.  After ADD the
 * link is up.  Also after SEAL.  Errors: -ENODEV, -EINVAL.
 */
struct kvm_hcall_link {
	__u32 flags;
	__u32 unit;
	__u16 mtu;
	__u16 reserved[3];
};

KVM_HCALL_ASSERT(kvm_hcall_link_size, sizeof(struct kvm_hcall_link) == 16);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_link, flags, 0);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_link, unit, 4);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_link, mtu, 8);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_link, reserved, 10);

/**
 * struct kvm_hcall_route - argument of KVM_HCALL_ROUTE
 * @flags:    0
 * @channel:  0 to 1023
 * @vcpu:     from KVM_CREATE_VCPU; KVM_HCALL_VCPU_ANY: every vCPU
 * @fd:       an eventfd, which the channel signals when it fires; -1: none
 * @reserved: 0
 *
 * The answer to the guest's ROUTE with an interrupt, which comes to the launcher
 * as KVM_EXIT_HYPERCALL: an eventfd that is an irqfd becomes an interrupt.
 * Several channels may have the same.  One that nobody made an irqfd tells the
 * launcher what the guest RAISEs.  Also after SEAL.
 *
 * Errors: -EINVAL (not an eventfd), -EBADF, -ENODEV (no such vCPU, or none has
 * made a call yet), -ENOTCONN (not bound yet), -ENOMEM.
 */
struct kvm_hcall_route {
	__u32 flags;
	__u32 channel;
	__u32 vcpu;
	__s32 fd;
	__u64 reserved[2];
};

KVM_HCALL_ASSERT(kvm_hcall_route_size, sizeof(struct kvm_hcall_route) == 32);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_route, flags, 0);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_route, channel, 4);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_route, vcpu, 8);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_route, fd, 12);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_route, reserved, 16);

#define KVM_HCALL_VCPU_ANY 0xffffffff

/**
 * struct kvm_hcall_raise - argument of KVM_HCALL_RAISE
 * @flags:    0
 * @channel:  0 to 1023, which fires
 * @reserved: 0
 *
 * Also after SEAL.  Errors: -EINVAL, -ENOTCONN (not bound yet).
 */
struct kvm_hcall_raise {
	__u32 flags;
	__u32 channel;
	__u64 reserved;
};

KVM_HCALL_ASSERT(kvm_hcall_raise_size, sizeof(struct kvm_hcall_raise) == 16);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_raise, flags, 0);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_raise, channel, 4);
KVM_HCALL_ASSERT_OFFSET(kvm_hcall_raise, reserved, 8);

#define KVM_HCALL_BIND	 _IOW(KVM_HCALL_IOC, 0xB0, struct kvm_hcall_bind)
#define KVM_HCALL_ADD	 _IOWR(KVM_HCALL_IOC, 0xB1, struct kvm_hcall_add)
#define KVM_HCALL_REMOVE _IOW(KVM_HCALL_IOC, 0xB2, struct kvm_hcall_remove)
#define KVM_HCALL_RESIZE _IOW(KVM_HCALL_IOC, 0xB3, struct kvm_hcall_resize)
#define KVM_HCALL_POLICY _IOW(KVM_HCALL_IOC, 0xB4, struct kvm_hcall_policy)
#define KVM_HCALL_STATS	 _IOWR(KVM_HCALL_IOC, 0xB5, struct kvm_hcall_stats)
/*
 * KVM_HCALL_SEAL: from now on no device can be added and no policy changed.
 * No argument.  Errors: -ENOTCONN (not bound yet).
 */
#define KVM_HCALL_SEAL	 _IO(KVM_HCALL_IOC, 0xB6)
#define KVM_HCALL_ROUTE	 _IOW(KVM_HCALL_IOC, 0xB7, struct kvm_hcall_route)
#define KVM_HCALL_RAISE	 _IOW(KVM_HCALL_IOC, 0xB8, struct kvm_hcall_raise)
#define KVM_HCALL_LINK	 _IOW(KVM_HCALL_IOC, 0xB9, struct kvm_hcall_link)

#endif
