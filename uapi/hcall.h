/* SPDX-License-Identifier: MIT */
/*
 * hcall guest ABI: numbers, constants and structures.
 *
 * This header and hcall_call.h are all that a guest needs.  Both are
 * freestanding C99, compile as C++ and as 32-bit and 64-bit code, and may be
 * copied into any OS.  The normative text is Documentation/abi.rst.
 *
 * A call is a KVM hypercall: number in RAX, arguments in RBX, RCX, RDX, RSI,
 * result in RAX, every other register kept.  A result >= 0 is the answer, a
 * result < 0 is a negated HCALL_E* number.  All integers are little-endian,
 * all addresses are guest-physical, 64 bits wide, of any alignment unless a
 * call says otherwise.
 */
#ifndef HCALL_H
#define HCALL_H

#if defined(__linux__) && defined(__KERNEL__)
#include <linux/stddef.h>
#include <linux/types.h>
#else
#include <stddef.h>
#include <stdint.h>
#endif

/* Sizes and offsets are part of the ABI: a compiler that disagrees fails here. */
#define HCALL_ASSERT(name, cond) \
	typedef char hcall_assert_##name[(cond) ? 1 : -1]
#define HCALL_ASSERT_OFFSET(type, member, offset)   \
	HCALL_ASSERT(type##_##member##_at_##offset, \
		     offsetof(struct type, member) == (offset))

/** typedef hcall_gpa - a guest-physical address; never a virtual one */
typedef uint64_t hcall_gpa;

/* ---- Numbers ----------------------------------------------------------- */

#define HCALL_PREFIX 0x68630000u /* 'h' 'c' in the upper half */
#define HCALL_NR(class, function) \
	(HCALL_PREFIX | (uint32_t)(class) << 8 | (uint32_t)(function))
#define HCALL_NR_CLASS(nr)	 ((uint32_t)(nr) >> 8 & 0xff)
#define HCALL_NR_FUNCTION(nr)	 ((uint32_t)(nr)&0xff)

/* Classes. */
#define HCALL_CLASS_SYS		 0x00
#define HCALL_CLASS_CONSOLE	 0x01
#define HCALL_CLASS_BLOCK	 0x02
#define HCALL_CLASS_BPF_FIRST	 0xe0 /* implemented by a BPF program */
#define HCALL_CLASS_BPF_LAST	 0xef
#define HCALL_CLASS_USER_FIRST	 0xf0 /* for the launcher, by convention */
#define HCALL_CLASS_USER_LAST	 0xff

/* Class 0, sys. */
#define HCALL_SYS_PROBE		 HCALL_NR(HCALL_CLASS_SYS, 0)
#define HCALL_SYS_DEVICE	 HCALL_NR(HCALL_CLASS_SYS, 1)
#define HCALL_SYS_BATCH		 HCALL_NR(HCALL_CLASS_SYS, 2)
#define HCALL_SYS_EXIT		 HCALL_NR(HCALL_CLASS_SYS, 3)
#define HCALL_SYS_RANDOM	 HCALL_NR(HCALL_CLASS_SYS, 4)

/* Class 1, console. */
#define HCALL_CONSOLE_WRITE	 HCALL_NR(HCALL_CLASS_CONSOLE, 0)
#define HCALL_CONSOLE_READ	 HCALL_NR(HCALL_CLASS_CONSOLE, 1)
#define HCALL_CONSOLE_PUTC	 HCALL_NR(HCALL_CLASS_CONSOLE, 2)
#define HCALL_CONSOLE_GETC	 HCALL_NR(HCALL_CLASS_CONSOLE, 3)
#define HCALL_CONSOLE_SIZE	 HCALL_NR(HCALL_CLASS_CONSOLE, 4)

/*
 * Class 2, block.  The functions are virtio-blk's request types
 * (VIRTIO_BLK_T_*, Virtual I/O Device 1.2, 5.2.6).
 */
#define HCALL_BLOCK_READ	 HCALL_NR(HCALL_CLASS_BLOCK, 0)
#define HCALL_BLOCK_WRITE	 HCALL_NR(HCALL_CLASS_BLOCK, 1)
#define HCALL_BLOCK_FLUSH	 HCALL_NR(HCALL_CLASS_BLOCK, 4)
#define HCALL_BLOCK_DISCARD	 HCALL_NR(HCALL_CLASS_BLOCK, 11)
#define HCALL_BLOCK_WRITE_ZEROES HCALL_NR(HCALL_CLASS_BLOCK, 13)

/* ---- Errors: the whole table, the same for every call ------------------ */

#define HCALL_EPERM		 1 /* the owner of the VM denies this, or CPL > 0 */
#define HCALL_EINTR		 4 /* interrupted before anything was done: call again */
#define HCALL_EIO		 5 /* the device on the host failed */
#define HCALL_E2BIG		 7 /* more than the stated cap */
#define HCALL_EAGAIN		 11 /* nothing could be moved now: call again */
#define HCALL_ENOMEM		 12 /* the host is short of memory: call again later */
#define HCALL_EFAULT		 14 /* not guest RAM, or not writable guest RAM */
#define HCALL_ENODEV		 19 /* no such device */
#define HCALL_EINVAL		 22 /* an argument that is never right */
#define HCALL_ENOSPC		 28 /* the file system under the device is full */
#define HCALL_EROFS		 30 /* write to a read-only device */
#define HCALL_ERANGE		 34 /* beyond the end of the device */
#define HCALL_EOPNOTSUPP	 95 /* this device, or this door, cannot do this */
#define HCALL_ECANCELED		 125 /* an earlier element of the chain failed */
#define HCALL_ENOSYS		 1000 /* no such call; what KVM answers without hcall */

/* ---- Discovery --------------------------------------------------------- */

/*
 * A hypervisor leaf range: some base B, a multiple of 0x100 from 0x40000000
 * to 0x4000ff00, where CPUID(B) has the signature in EBX, ECX, EDX and in EAX
 * the last leaf of the range.
 */
#define HCALL_CPUID_FIRST	 0x40000000u
#define HCALL_CPUID_LAST	 0x4000ff00u
#define HCALL_CPUID_STEP	 0x100u
#define HCALL_CPUID_EBX		 0x6c616368u /* "hcal" */
#define HCALL_CPUID_ECX		 0x6163686cu /* "lhca" */
#define HCALL_CPUID_EDX		 0x00006c6cu /* "ll\0\0" */
#define HCALL_CPUID_FEATURES	 1u /* leaf B + 1: EAX features, EBX HCALL_PREFIX */
#define HCALL_FEATURE_CALLS	 (1u << 0) /* calls are served in this VM */

/* ---- Flags of more than one call --------------------------------------- */

/*
 * Without this flag a call that finds nothing to do puts the vCPU to sleep as
 * HLT does, until the device is ready or an interrupt arrives, and then
 * answers -HCALL_EAGAIN; with it the vCPU does not sleep.
 */
#define HCALL_NOWAIT		 (1u << 0)

/* ---- sys --------------------------------------------------------------- */

#define HCALL_RANDOM_MAX_BYTES	 4096u
#define HCALL_BATCH_MAX_OPS	 256u
#define HCALL_BATCH_MAX_PENDING	 64u /* asynchronous batches on their way */

/* EXIT reasons. */
#define HCALL_EXIT_OFF		 0u
#define HCALL_EXIT_REBOOT	 1u
#define HCALL_EXIT_PANIC	 2u

/* BATCH flags. */
#define HCALL_BATCH_ASYNC	 (1u << 0)

/* Flags of a batch element. */
#define HCALL_OP_LINK		 (1u << 0) /* IN: run the next one only if this succeeds */
#define HCALL_OP_DONE		 (1u << 31) /* OUT: result is valid; ignored as input */

/**
 * struct hcall_op - one element of a batch, 64 bytes
 * @number:   IN: what would be in RAX
 * @flags:    IN: HCALL_OP_LINK; OUT: the host adds HCALL_OP_DONE, last
 * @args:     IN: what would be in RBX, RCX, RDX, RSI; 64 bits in every mode
 * @result:   OUT: what would be in RAX afterwards
 * @cookie:   the guest's own; never read or written by the host
 * @reserved: IN: must be 0
 */
struct hcall_op {
	uint32_t number;
	uint32_t flags;
	uint64_t args[4];
	int64_t result;
	uint64_t cookie;
	uint64_t reserved;
};

HCALL_ASSERT(op_size, sizeof(struct hcall_op) == 64);
HCALL_ASSERT_OFFSET(hcall_op, number, 0);
HCALL_ASSERT_OFFSET(hcall_op, flags, 4);
HCALL_ASSERT_OFFSET(hcall_op, args, 8);
HCALL_ASSERT_OFFSET(hcall_op, result, 40);
HCALL_ASSERT_OFFSET(hcall_op, cookie, 48);
HCALL_ASSERT_OFFSET(hcall_op, reserved, 56);

/* Flags of a device. */
#define HCALL_DEVICE_READONLY (1u << 0)

#define HCALL_NAME_BYTES      40

/**
 * struct hcall_block_info - what DEVICE tells about a disk
 * @sectors:             size in sectors of 512 bytes
 * @block_bytes:         sector and count of every call must be multiples of
 *                       this many bytes; a power of two, at least 512
 * @physical_bytes:      writes smaller than this may cost a read; a hint
 * @max_sectors:         cap of one READ or WRITE
 * @max_discard_sectors: cap of one DISCARD; 0: not supported
 * @max_zeroes_sectors:  cap of one WRITE_ZEROES; 0: not supported
 * @reserved:            0
 */
struct hcall_block_info {
	uint64_t sectors;
	uint32_t block_bytes;
	uint32_t physical_bytes;
	uint32_t max_sectors;
	uint32_t max_discard_sectors;
	uint32_t max_zeroes_sectors;
	uint32_t reserved[9];
};

HCALL_ASSERT(block_info_size, sizeof(struct hcall_block_info) == 64);
HCALL_ASSERT_OFFSET(hcall_block_info, sectors, 0);
HCALL_ASSERT_OFFSET(hcall_block_info, block_bytes, 8);
HCALL_ASSERT_OFFSET(hcall_block_info, physical_bytes, 12);
HCALL_ASSERT_OFFSET(hcall_block_info, max_sectors, 16);
HCALL_ASSERT_OFFSET(hcall_block_info, max_discard_sectors, 20);
HCALL_ASSERT_OFFSET(hcall_block_info, max_zeroes_sectors, 24);
HCALL_ASSERT_OFFSET(hcall_block_info, reserved, 28);

/**
 * struct hcall_console_info - what DEVICE tells about a console
 * @columns:  width in characters; 0: not known
 * @rows:     height in characters; 0: not known
 * @max_bytes: cap of one WRITE or READ
 * @reserved: 0
 */
struct hcall_console_info {
	uint16_t columns;
	uint16_t rows;
	uint32_t max_bytes;
	uint32_t reserved[14];
};

HCALL_ASSERT(console_info_size, sizeof(struct hcall_console_info) == 64);
HCALL_ASSERT_OFFSET(hcall_console_info, columns, 0);
HCALL_ASSERT_OFFSET(hcall_console_info, rows, 2);
HCALL_ASSERT_OFFSET(hcall_console_info, max_bytes, 4);
HCALL_ASSERT_OFFSET(hcall_console_info, reserved, 8);

/**
 * struct hcall_device - what DEVICE writes; append-only
 * @class_id: HCALL_CLASS_CONSOLE, HCALL_CLASS_BLOCK, ...
 * @unit:     the dev argument of the class's calls
 * @flags:    HCALL_DEVICE_*
 * @reserved: 0
 * @name:     the launcher's name for it, NUL-terminated, zero-padded
 * @u:        what is particular to the class: @u.block or @u.console; all 64
 *            bytes are written
 */
struct hcall_device {
	uint32_t class_id;
	uint32_t unit;
	uint32_t flags;
	uint32_t reserved[3];
	char name[HCALL_NAME_BYTES];
	union {
		struct hcall_block_info block;
		struct hcall_console_info console;
		uint8_t bytes[64];
	} u;
};

HCALL_ASSERT(device_size, sizeof(struct hcall_device) == 128);
HCALL_ASSERT_OFFSET(hcall_device, class_id, 0);
HCALL_ASSERT_OFFSET(hcall_device, unit, 4);
HCALL_ASSERT_OFFSET(hcall_device, flags, 8);
HCALL_ASSERT_OFFSET(hcall_device, reserved, 12);
HCALL_ASSERT_OFFSET(hcall_device, name, 24);
HCALL_ASSERT_OFFSET(hcall_device, u, 64);

#define HCALL_DEVICE_MIN_BYTES		64u /* the part every class has */

/* ---- console ----------------------------------------------------------- */

#define HCALL_CONSOLE_MAX_BYTES		65536u

/* The answer of SIZE. */
#define HCALL_SIZE_COLUMNS(size)	((uint32_t)(size)&0xffff)
#define HCALL_SIZE_ROWS(size)		((uint32_t)(size) >> 16 & 0x7fff)

/* ---- block ------------------------------------------------------------- */

#define HCALL_SECTOR_BYTES		512u
#define HCALL_BLOCK_MAX_SECTORS		2048u /* 1 MiB */
#define HCALL_BLOCK_MAX_DISCARD_SECTORS 0x200000u /* 1 GiB */
#define HCALL_BLOCK_MAX_ZEROES_SECTORS	0x200000u

/* WRITE_ZEROES flags. */
#define HCALL_ZEROES_UNMAP		(1u << 0) /* the space may be given back */

#endif /* HCALL_H */
