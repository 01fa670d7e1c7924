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
#define HCALL_NR_CLASS(nr)	  ((uint32_t)(nr) >> 8 & 0xff)
#define HCALL_NR_FUNCTION(nr)	  ((uint32_t)(nr)&0xff)

/* Classes. */
#define HCALL_CLASS_SYS		  0x00
#define HCALL_CLASS_CONSOLE	  0x01
#define HCALL_CLASS_BLOCK	  0x02
#define HCALL_CLASS_TIMER	  0x03
#define HCALL_CLASS_INPUT	  0x04
#define HCALL_CLASS_NET		  0x05
#define HCALL_CLASS_EVENT	  0x06
#define HCALL_CLASS_VIRTIO	  0x07
#define HCALL_CLASS_BPF_FIRST	  0xe0 /* implemented by a BPF program */
#define HCALL_CLASS_BPF_LAST	  0xef
#define HCALL_CLASS_USER_FIRST	  0xf0 /* for the launcher, by convention */
#define HCALL_CLASS_USER_LAST	  0xff

/* Class 0, sys. */
#define HCALL_SYS_PROBE		  HCALL_NR(HCALL_CLASS_SYS, 0)
#define HCALL_SYS_DEVICE	  HCALL_NR(HCALL_CLASS_SYS, 1)
#define HCALL_SYS_BATCH		  HCALL_NR(HCALL_CLASS_SYS, 2)
#define HCALL_SYS_EXIT		  HCALL_NR(HCALL_CLASS_SYS, 3)
#define HCALL_SYS_RANDOM	  HCALL_NR(HCALL_CLASS_SYS, 4)

/* Class 1, console. */
#define HCALL_CONSOLE_WRITE	  HCALL_NR(HCALL_CLASS_CONSOLE, 0)
#define HCALL_CONSOLE_READ	  HCALL_NR(HCALL_CLASS_CONSOLE, 1)
#define HCALL_CONSOLE_PUTC	  HCALL_NR(HCALL_CLASS_CONSOLE, 2)
#define HCALL_CONSOLE_GETC	  HCALL_NR(HCALL_CLASS_CONSOLE, 3)
#define HCALL_CONSOLE_SIZE	  HCALL_NR(HCALL_CLASS_CONSOLE, 4)

/*
 * Class 2, block.  The functions are virtio-blk's request types
 * (VIRTIO_BLK_T_*, Virtual I/O Device 1.2, 5.2.6).
 */
#define HCALL_BLOCK_READ	  HCALL_NR(HCALL_CLASS_BLOCK, 0)
#define HCALL_BLOCK_WRITE	  HCALL_NR(HCALL_CLASS_BLOCK, 1)
#define HCALL_BLOCK_FLUSH	  HCALL_NR(HCALL_CLASS_BLOCK, 4)
#define HCALL_BLOCK_DISCARD	  HCALL_NR(HCALL_CLASS_BLOCK, 11)
#define HCALL_BLOCK_WRITE_ZEROES  HCALL_NR(HCALL_CLASS_BLOCK, 13)

/* Class 3, timer. */
#define HCALL_TIMER_NOW		  HCALL_NR(HCALL_CLASS_TIMER, 0)
#define HCALL_TIMER_ARM		  HCALL_NR(HCALL_CLASS_TIMER, 1)
#define HCALL_TIMER_CANCEL	  HCALL_NR(HCALL_CLASS_TIMER, 2)
#define HCALL_TIMER_EXPIRED	  HCALL_NR(HCALL_CLASS_TIMER, 3)

/* Class 4, input. */
#define HCALL_INPUT_READ	  HCALL_NR(HCALL_CLASS_INPUT, 0)
#define HCALL_INPUT_WRITE	  HCALL_NR(HCALL_CLASS_INPUT, 1)
#define HCALL_INPUT_CONFIG	  HCALL_NR(HCALL_CLASS_INPUT, 2)

/* Class 5, net. */
#define HCALL_NET_SEND		  HCALL_NR(HCALL_CLASS_NET, 0)
#define HCALL_NET_RECV		  HCALL_NR(HCALL_CLASS_NET, 1)
#define HCALL_NET_SENDV		  HCALL_NR(HCALL_CLASS_NET, 2)
#define HCALL_NET_RECVV		  HCALL_NR(HCALL_CLASS_NET, 3)
#define HCALL_NET_FEATURES	  HCALL_NR(HCALL_CLASS_NET, 4)
#define HCALL_NET_LINK		  HCALL_NR(HCALL_CLASS_NET, 5)

/* Class 6, event. */
#define HCALL_EVENT_PAGE	  HCALL_NR(HCALL_CLASS_EVENT, 0)
#define HCALL_EVENT_NEXT	  HCALL_NR(HCALL_CLASS_EVENT, 1)
#define HCALL_EVENT_WAIT	  HCALL_NR(HCALL_CLASS_EVENT, 2)
#define HCALL_EVENT_MASK	  HCALL_NR(HCALL_CLASS_EVENT, 3)
#define HCALL_EVENT_ROUTE	  HCALL_NR(HCALL_CLASS_EVENT, 4)
#define HCALL_EVENT_RAISE	  HCALL_NR(HCALL_CLASS_EVENT, 5)

/* Class 7, virtio: the same devices by virtqueues. */
#define HCALL_VIRTIO_DEVICE	  HCALL_NR(HCALL_CLASS_VIRTIO, 0)
#define HCALL_VIRTIO_STATUS	  HCALL_NR(HCALL_CLASS_VIRTIO, 1)
#define HCALL_VIRTIO_FEATURES	  HCALL_NR(HCALL_CLASS_VIRTIO, 2)
#define HCALL_VIRTIO_QUEUE	  HCALL_NR(HCALL_CLASS_VIRTIO, 3)
#define HCALL_VIRTIO_KICK	  HCALL_NR(HCALL_CLASS_VIRTIO, 4)
#define HCALL_VIRTIO_CONFIG_READ  HCALL_NR(HCALL_CLASS_VIRTIO, 5)
#define HCALL_VIRTIO_CONFIG_WRITE HCALL_NR(HCALL_CLASS_VIRTIO, 6)

/* ---- Errors: the whole table, the same for every call ------------------ */

#define HCALL_EPERM		  1 /* the owner of the VM denies this, or CPL > 0 */
#define HCALL_EINTR		  4 /* interrupted before anything was done: call again */
#define HCALL_EIO		  5 /* the device on the host failed */
#define HCALL_E2BIG		  7 /* more than the stated cap, or than fits */
#define HCALL_EAGAIN		  11 /* nothing could be moved now: call again */
#define HCALL_ENOMEM		  12 /* the host is short of memory: call again later */
#define HCALL_EFAULT		  14 /* not guest RAM, or not writable guest RAM */
#define HCALL_ENODEV		  19 /* no such device */
#define HCALL_EINVAL		  22 /* an argument that is never right */
#define HCALL_ENOSPC		  28 /* the file system under the device is full */
#define HCALL_EROFS		  30 /* write to a read-only device */
#define HCALL_ERANGE		  34 /* beyond the end of the device */
#define HCALL_EOPNOTSUPP	  95 /* this device, or this door, cannot do this */
#define HCALL_ECANCELED		  125 /* an earlier element of the chain failed */
#define HCALL_ENOSYS		  1000 /* no such call; what KVM answers without hcall */

/* ---- Discovery --------------------------------------------------------- */

/*
 * A hypervisor leaf range: some base B, a multiple of 0x100 from 0x40000000
 * to 0x4000ff00, where CPUID(B) has the signature in EBX, ECX, EDX and in EAX
 * the last leaf of the range.
 */
#define HCALL_CPUID_FIRST	  0x40000000u
#define HCALL_CPUID_LAST	  0x4000ff00u
#define HCALL_CPUID_STEP	  0x100u
#define HCALL_CPUID_EBX		  0x6c616368u /* "hcal" */
#define HCALL_CPUID_ECX		  0x6163686cu /* "lhca" */
#define HCALL_CPUID_EDX		  0x00006c6cu /* "ll\0\0" */
#define HCALL_CPUID_FEATURES	  1u /* leaf B + 1: EAX features, EBX HCALL_PREFIX */
#define HCALL_FEATURE_CALLS	  (1u << 0) /* calls are served in this VM */

/* ---- Flags of more than one call --------------------------------------- */

/*
 * Without this flag a call that finds nothing to do puts the vCPU to sleep as
 * HLT does, until the device is ready or an interrupt arrives, and then
 * answers -HCALL_EAGAIN; with it the vCPU does not sleep.
 */
#define HCALL_NOWAIT		  (1u << 0)

/* ---- sys --------------------------------------------------------------- */

#define HCALL_RANDOM_MAX_BYTES	  4096u
#define HCALL_BATCH_MAX_OPS	  256u
#define HCALL_BATCH_MAX_PENDING	  64u /* asynchronous batches on their way */

/* EXIT reasons. */
#define HCALL_EXIT_OFF		  0u
#define HCALL_EXIT_REBOOT	  1u
#define HCALL_EXIT_PANIC	  2u

/* BATCH flags. */
#define HCALL_BATCH_ASYNC	  (1u << 0)

/* Flags of a batch element. */
#define HCALL_OP_LINK		  (1u << 0) /* IN: run the next one only if this succeeds */
#define HCALL_OP_DONE		  (1u << 31) /* OUT: result is valid; ignored as input */

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
 * struct hcall_net_info - what DEVICE tells about a network interface
 * @mac:        its Ethernet address
 * @mtu:        largest payload of a frame in bytes, 68 to 65535
 * @features:   HCALL_NET_F_* that NET_FEATURES may ask for
 * @link:       1: up, 0: down
 * @max_bytes:  cap of one frame, with its header if there is one
 * @max_frames: cap of one SENDV or RECVV
 * @reserved:   0
 */
struct hcall_net_info {
	uint8_t mac[6];
	uint16_t mtu;
	uint32_t features;
	uint32_t link;
	uint32_t max_bytes;
	uint32_t max_frames;
	uint32_t reserved[10];
};

HCALL_ASSERT(net_info_size, sizeof(struct hcall_net_info) == 64);
HCALL_ASSERT_OFFSET(hcall_net_info, mac, 0);
HCALL_ASSERT_OFFSET(hcall_net_info, mtu, 6);
HCALL_ASSERT_OFFSET(hcall_net_info, features, 8);
HCALL_ASSERT_OFFSET(hcall_net_info, link, 12);
HCALL_ASSERT_OFFSET(hcall_net_info, max_bytes, 16);
HCALL_ASSERT_OFFSET(hcall_net_info, max_frames, 20);
HCALL_ASSERT_OFFSET(hcall_net_info, reserved, 24);

/**
 * struct hcall_input_info - what DEVICE tells about an input device
 * @max_events: cap of one READ or WRITE
 * @reserved:   0
 */
struct hcall_input_info {
	uint32_t max_events;
	uint32_t reserved[15];
};

HCALL_ASSERT(input_info_size, sizeof(struct hcall_input_info) == 64);
HCALL_ASSERT_OFFSET(hcall_input_info, max_events, 0);
HCALL_ASSERT_OFFSET(hcall_input_info, reserved, 4);

/**
 * struct hcall_device - what DEVICE writes; append-only
 * @class_id: HCALL_CLASS_CONSOLE, HCALL_CLASS_BLOCK, ...
 * @unit:     the dev argument of the class's calls
 * @flags:    HCALL_DEVICE_*
 * @channel:  the event channel that fires when the device has something new
 * @reserved: 0
 * @name:     the launcher's name for it, NUL-terminated, zero-padded
 * @u:        what is particular to the class: @u.block, @u.console, ...; all 64
 *            bytes are written
 */
struct hcall_device {
	uint32_t class_id;
	uint32_t unit;
	uint32_t flags;
	uint32_t channel;
	uint32_t reserved[2];
	char name[HCALL_NAME_BYTES];
	union {
		struct hcall_block_info block;
		struct hcall_console_info console;
		struct hcall_input_info input;
		struct hcall_net_info net;
		uint8_t bytes[64];
	} u;
};

HCALL_ASSERT(device_size, sizeof(struct hcall_device) == 128);
HCALL_ASSERT_OFFSET(hcall_device, class_id, 0);
HCALL_ASSERT_OFFSET(hcall_device, unit, 4);
HCALL_ASSERT_OFFSET(hcall_device, flags, 8);
HCALL_ASSERT_OFFSET(hcall_device, channel, 12);
HCALL_ASSERT_OFFSET(hcall_device, reserved, 16);
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

/* ---- timer ------------------------------------------------------------- */

#define HCALL_TIMERS			64u /* timers of a VM: 0 to 63 */
#define HCALL_TIMER_MIN_PERIOD		1000000u /* ns */

/* Clocks, in ns: since the host booted, since 1970 in UTC, the same in TAI. */
#define HCALL_CLOCK_MONOTONIC		0u
#define HCALL_CLOCK_REALTIME		1u
#define HCALL_CLOCK_TAI			2u

/* ---- input ------------------------------------------------------------- */

#define HCALL_INPUT_MAX_EVENTS		64u

/**
 * struct hcall_input_event - a struct virtio_input_event (Virtual I/O Device
 * 1.2, 5.8.6)
 * @type:  EV_* of Linux's input-event-codes.h
 * @code:  KEY_*, REL_*, ...
 * @value: 1: pressed, 0: released, 2: repeated; or a position or distance
 */
struct hcall_input_event {
	uint16_t type;
	uint16_t code;
	uint32_t value;
};

HCALL_ASSERT(input_event_size, sizeof(struct hcall_input_event) == 8);
HCALL_ASSERT_OFFSET(hcall_input_event, type, 0);
HCALL_ASSERT_OFFSET(hcall_input_event, code, 2);
HCALL_ASSERT_OFFSET(hcall_input_event, value, 4);

/*
 * What CONFIG is asked for: select and subsel of virtio-input's configuration
 * (VIRTIO_INPUT_CFG_*, 5.8.4).
 */
#define HCALL_INPUT_SELECT(select, subsel) \
	((uint32_t)(select) << 8 | (uint32_t)(subsel))
#define HCALL_INPUT_NAME       0x01u /* a string, without its NUL */
#define HCALL_INPUT_SERIAL     0x02u /* the same */
#define HCALL_INPUT_IDS	       0x03u /* struct hcall_input_ids */
#define HCALL_INPUT_PROPERTIES 0x10u /* a bitmap of INPUT_PROP_* */
#define HCALL_INPUT_CODES      0x11u /* subsel EV_*: a bitmap of codes */
#define HCALL_INPUT_AXIS       0x12u /* subsel ABS_*: hcall_input_axis */

/**
 * struct hcall_input_ids - a struct virtio_input_devids
 * @bustype: BUS_*
 * @vendor:  of the device
 * @product: of the device
 * @version: of the device
 */
struct hcall_input_ids {
	uint16_t bustype;
	uint16_t vendor;
	uint16_t product;
	uint16_t version;
};

HCALL_ASSERT(input_ids_size, sizeof(struct hcall_input_ids) == 8);
HCALL_ASSERT_OFFSET(hcall_input_ids, bustype, 0);
HCALL_ASSERT_OFFSET(hcall_input_ids, vendor, 2);
HCALL_ASSERT_OFFSET(hcall_input_ids, product, 4);
HCALL_ASSERT_OFFSET(hcall_input_ids, version, 6);

/**
 * struct hcall_input_axis - a struct virtio_input_absinfo
 * @min:        smallest position
 * @max:        largest position
 * @fuzz:       noise to filter out
 * @flat:       around the middle of a joystick
 * @resolution: units per mm, or per radian
 */
struct hcall_input_axis {
	int32_t min;
	int32_t max;
	uint32_t fuzz;
	uint32_t flat;
	uint32_t resolution;
};

HCALL_ASSERT(input_axis_size, sizeof(struct hcall_input_axis) == 20);
HCALL_ASSERT_OFFSET(hcall_input_axis, min, 0);
HCALL_ASSERT_OFFSET(hcall_input_axis, max, 4);
HCALL_ASSERT_OFFSET(hcall_input_axis, fuzz, 8);
HCALL_ASSERT_OFFSET(hcall_input_axis, flat, 12);
HCALL_ASSERT_OFFSET(hcall_input_axis, resolution, 16);

/* ---- net --------------------------------------------------------------- */

#define HCALL_NET_MIN_BYTES    14u /* an Ethernet header */
#define HCALL_NET_MAX_BYTES    65562u /* as virtio-net's, 5.1.6.3.1 */
#define HCALL_NET_MAX_FRAMES   256u

/*
 * Features: virtio-net's bits (5.1.3).  As long as any is on, each frame has a
 * struct hcall_net_header before it.
 */
#define HCALL_NET_F_CSUM       (1u << 0) /* host takes partial checksums */
#define HCALL_NET_F_GUEST_CSUM (1u << 1) /* the guest does */
#define HCALL_NET_F_GUEST_TSO4 (1u << 7) /* guest takes large TCP frames */
#define HCALL_NET_F_GUEST_TSO6 (1u << 8)
#define HCALL_NET_F_HOST_TSO4  (1u << 11) /* the host does */
#define HCALL_NET_F_HOST_TSO6  (1u << 12)

/* Flags and segmentation types of a header. */
#define HCALL_NET_NEEDS_CSUM   1u
#define HCALL_NET_DATA_VALID   2u
#define HCALL_NET_GSO_NONE     0u
#define HCALL_NET_GSO_TCPV4    1u
#define HCALL_NET_GSO_TCPV6    4u

/**
 * struct hcall_net_header - a struct virtio_net_hdr (5.1.6)
 * @flags:       HCALL_NET_NEEDS_CSUM, HCALL_NET_DATA_VALID
 * @gso_type:    HCALL_NET_GSO_*
 * @header_bytes: Ethernet, IP and TCP headers; a hint
 * @gso_bytes:   payload of each segment
 * @csum_start:  from where on to sum up, after this header
 * @csum_offset: where to put the sum, after @csum_start
 * @buffers:     SEND: 0; RECV: 1
 */
struct hcall_net_header {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t header_bytes;
	uint16_t gso_bytes;
	uint16_t csum_start;
	uint16_t csum_offset;
	uint16_t buffers;
};

HCALL_ASSERT(net_header_size, sizeof(struct hcall_net_header) == 12);
HCALL_ASSERT_OFFSET(hcall_net_header, flags, 0);
HCALL_ASSERT_OFFSET(hcall_net_header, gso_type, 1);
HCALL_ASSERT_OFFSET(hcall_net_header, header_bytes, 2);
HCALL_ASSERT_OFFSET(hcall_net_header, gso_bytes, 4);
HCALL_ASSERT_OFFSET(hcall_net_header, csum_start, 6);
HCALL_ASSERT_OFFSET(hcall_net_header, csum_offset, 8);
HCALL_ASSERT_OFFSET(hcall_net_header, buffers, 10);

/**
 * struct hcall_frame - a frame of SENDV, or room for one of RECVV
 * @gpa:   IN: where it is, of any alignment
 * @bytes: IN: SENDV: of the frame; RECVV: of the room
 * @used:  OUT, RECVV: bytes of the frame
 */
struct hcall_frame {
	uint64_t gpa;
	uint32_t bytes;
	uint32_t used;
};

HCALL_ASSERT(frame_size, sizeof(struct hcall_frame) == 16);
HCALL_ASSERT_OFFSET(hcall_frame, gpa, 0);
HCALL_ASSERT_OFFSET(hcall_frame, bytes, 8);
HCALL_ASSERT_OFFSET(hcall_frame, used, 12);

/* The answer of LINK. */
#define HCALL_LINK_MTU(link)   ((uint32_t)(link)&0xffff)
#define HCALL_LINK_UP	       (1u << 16)

/* ---- event ------------------------------------------------------------- */

#define HCALL_CHANNELS	       1024u
#define HCALL_CHANNEL_TIMER    0u /* timer n has channel n */
#define HCALL_CHANNEL_GUEST    512u /* from here on: the guest's own */

#define HCALL_VCPU_ANY	       0xffffffffu

/* No address of a page: the host keeps the bits itself, as at the start. */
#define HCALL_NO_PAGE	       1u

/* WAIT flags. */
#define HCALL_WAIT_DEADLINE    (1u << 0)

/* ROUTE flags. */
#define HCALL_ROUTE_LINE       (1u << 0) /* an interrupt line, no vector */

/* Vectors of ROUTE, without HCALL_ROUTE_LINE, and lines with it. */
#define HCALL_ROUTE_NONE       0u /* no interrupt */
#define HCALL_ROUTE_MIN_VECTOR 16u
#define HCALL_ROUTE_MAX_VECTOR 255u
#define HCALL_ROUTE_MAX_LINE   23u

/**
 * struct hcall_event_page - what PAGE gives to the host; 256 bytes, aligned to
 * as many
 * @pending: bit c % 32 of word c / 32: channel c has fired; the host sets it,
 *           the guest clears it before it looks for what has happened
 * @mask:    the same bit: channel c neither wakes nor interrupts; the guest's
 *
 * Both sides change bits by atomic operations only.
 */
struct hcall_event_page {
	uint32_t pending[HCALL_CHANNELS / 32];
	uint32_t mask[HCALL_CHANNELS / 32];
};

HCALL_ASSERT(event_page_size, sizeof(struct hcall_event_page) == 256);
HCALL_ASSERT_OFFSET(hcall_event_page, pending, 0);
HCALL_ASSERT_OFFSET(hcall_event_page, mask, 128);

/* ---- virtio ------------------------------------------------------------ */

/*
 * The dev argument of all calls of class virtio: a device of the list of all
 * devices, by class and unit; and HCALL_VIRTIO_RNG, which is always there.
 */
#define HCALL_VIRTIO_DEV(class_id, unit) \
	((uint32_t)(class_id) << 8 | (uint32_t)(unit))
#define HCALL_VIRTIO_RNG	  HCALL_VIRTIO_DEV(HCALL_CLASS_SYS, 0)

#define HCALL_VIRTIO_MAX_SIZE	  256u /* of a queue */
#define HCALL_VIRTIO_MAX_SEGMENTS 256u /* buffers of one request */

/* STATUS: virtio's bits (2.1), or this to change nothing. */
#define HCALL_VIRTIO_STATUS_GET	  0x100u

/* KICK flags. */
#define HCALL_KICK_TELL		  (1u << 0) /* answer 1 instead of firing */

/**
 * struct hcall_virtio_device - what VIRTIO_DEVICE writes
 * @device_id:    virtio's number for the kind of device (5)
 * @queues:       queue numbers are below this
 * @max_size:     largest size of a queue, a power of two
 * @config_bytes: size of the configuration space
 * @features:     the bits that are offered
 * @channel:      fires when the configuration has changed, or the device is in
 *                need of a reset
 * @reserved:     0
 */
struct hcall_virtio_device {
	uint32_t device_id;
	uint32_t queues;
	uint32_t max_size;
	uint32_t config_bytes;
	uint64_t features;
	uint32_t channel;
	uint32_t reserved[9];
};

HCALL_ASSERT(virtio_device_size, sizeof(struct hcall_virtio_device) == 64);
HCALL_ASSERT_OFFSET(hcall_virtio_device, device_id, 0);
HCALL_ASSERT_OFFSET(hcall_virtio_device, queues, 4);
HCALL_ASSERT_OFFSET(hcall_virtio_device, max_size, 8);
HCALL_ASSERT_OFFSET(hcall_virtio_device, config_bytes, 12);
HCALL_ASSERT_OFFSET(hcall_virtio_device, features, 16);
HCALL_ASSERT_OFFSET(hcall_virtio_device, channel, 24);
HCALL_ASSERT_OFFSET(hcall_virtio_device, reserved, 28);

/**
 * struct hcall_virtio_queue - a split virtqueue (2.7), for VIRTIO_QUEUE
 * @size:     number of descriptors, a power of two, at most @max_size
 * @channel:  fires when the host has used buffers; HCALL_CHANNEL_GUEST or more
 * @desc:     the descriptor table, a multiple of 16
 * @driver:   the available ring, a multiple of 2
 * @device:   the used ring, a multiple of 4
 * @reserved: must be 0
 *
 * Each of the three lies in one piece of guest RAM, as a memory map shows it.
 */
struct hcall_virtio_queue {
	uint32_t size;
	uint32_t channel;
	hcall_gpa desc;
	hcall_gpa driver;
	hcall_gpa device;
	uint64_t reserved;
};

HCALL_ASSERT(virtio_queue_size, sizeof(struct hcall_virtio_queue) == 40);
HCALL_ASSERT_OFFSET(hcall_virtio_queue, size, 0);
HCALL_ASSERT_OFFSET(hcall_virtio_queue, channel, 4);
HCALL_ASSERT_OFFSET(hcall_virtio_queue, desc, 8);
HCALL_ASSERT_OFFSET(hcall_virtio_queue, driver, 16);
HCALL_ASSERT_OFFSET(hcall_virtio_queue, device, 24);
HCALL_ASSERT_OFFSET(hcall_virtio_queue, reserved, 32);

#endif /* HCALL_H */
