/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a recording is.  The file, the ring through which the program gives
 * records to hcallrec, and the memory from which they are replayed all have
 * the same records.
 *
 * A file is a struct hcallrec_header and then records, of which the last is
 * HCALLREC_END.  All numbers are little-endian.  Each record starts with a
 * struct hcallrec_record and is a multiple of 8 bytes long:
 *
 *	HCALLREC_VM	struct hcallrec_vm: a VM is there
 *	HCALLREC_CALL	struct hcallrec_call, and its parts: a call
 *	HCALLREC_VM_END	struct hcallrec_record: the VM makes no call any more
 *	HCALLREC_END	struct hcallrec_end: the end of the file
 *
 * Calls are in the order in which they were answered; so BATCH comes after its
 * elements, and the calls of a vCPU are in the order in which it made them.
 */
#ifndef HCALLREC_H
#define HCALLREC_H

#include <linux/types.h>

#include <hcall.h>

#define HCALLREC_MAGIC	 "HCALLREC"
#define HCALLREC_VERSION 1

/**
 * struct hcallrec_header - what a file begins with
 * @magic:    HCALLREC_MAGIC
 * @version:  HCALLREC_VERSION
 * @bytes:    of this header; the first record is there
 * @time_ns:  since 1970 when the recording began
 * @flags:    HCALLREC_LATE
 * @reserved: 0
 */
struct hcallrec_header {
	char magic[8];
	__u32 version;
	__u32 bytes;
	__u64 time_ns;
	__u32 flags;
	__u32 reserved;
};

/* The VM had run before: what it had done then is not here. */
#define HCALLREC_LATE 1

enum hcallrec_type {
	HCALLREC_VM = 1,
	HCALLREC_CALL,
	HCALLREC_VM_END,
	HCALLREC_END,
};

/**
 * struct hcallrec_record - what every record begins with
 * @bytes: of all of it; in the ring 0 until all of it is there
 * @type:  enum hcallrec_type
 * @flags: HCALLREC_UNREAD, HCALLREC_CUT
 * @vm:    0, 1, ... in the order in which they came
 * @vcpu:  index of the vCPU, -1: an element of an asynchronous batch; 0 in
 *	   what is no call
 */
struct hcallrec_record {
	__u32 bytes;
	__u16 type;
	__u16 flags;
	__u32 vm;
	__s32 vcpu;
};

/* Call: its data is not here, as the guest's memory was gone. */
#define HCALLREC_UNREAD 1
/* End of VM: it went on, hcallrec did not. */
#define HCALLREC_CUT	2

/**
 * struct hcallrec_vm - a VM
 * @record: HCALLREC_VM
 * @id:     as in tracepoints
 * @pid:    of its launcher
 * @comm:   the launcher's name
 */
struct hcallrec_vm {
	struct hcallrec_record record;
	__u32 id;
	__u32 pid;
	char comm[16];
};

/**
 * struct hcallrec_call - a call
 * @record: HCALLREC_CALL; perhaps with unused bytes at its end
 * @ns:     when it was answered, on CLOCK_MONOTONIC
 * @nr:     number
 * @door:   enum hcall_door
 * @after:  enum hcall_after
 * @parts:  how many struct hcallrec_part follow
 * @args:   as the guest has set them
 * @result: that it got; of HCALL_AFTER_FORWARD not known
 */
struct hcallrec_call {
	struct hcallrec_record record;
	__u64 ns;
	__u32 nr;
	__u8 door;
	__u8 after;
	__u16 parts;
	__u64 args[4];
	__s64 result;
};

/**
 * struct hcallrec_part - guest memory that was written to
 * @gpa:   where
 * @bytes: how much; the bytes follow, and after them zeros up to a multiple
 *	   of 8
 * @kind:  enum hcallrec_kind
 */
struct hcallrec_part {
	__u64 gpa;
	__u32 bytes;
	__u32 kind;
};

enum hcallrec_kind {
	HCALLREC_DATA, /* by the call */
	HCALLREC_PAGE, /* struct hcall_event_page as it was after the call */
	/*
	 * Pending bits that were set after the vCPU's last call, and that the
	 * guest had taken before this one; at @gpa, to be added there.
	 */
	HCALLREC_TAKEN,
};

/**
 * struct hcallrec_end - the end of a recording
 * @record: HCALLREC_END
 * @calls:  how many are there
 * @lost:   how many are not: then it is no good for a replay
 * @sum:    hcallrec_sum() of all that stands before it
 */
struct hcallrec_end {
	struct hcallrec_record record;
	__u64 calls;
	__u64 lost;
	__u64 sum;
};

/* FNV-1a's numbers, over words of 64 bits. */
#define HCALLREC_SUM 0xcbf29ce484222325ull

static inline __u64 hcallrec_sum(__u64 sum, const void *data, __u64 bytes)
{
	const __u64 *word = data;

	for (; bytes; bytes -= sizeof(*word))
		sum = (sum ^ *word++) * 0x100000001b3ull;
	return sum;
}

/* A RECVV of 256 frames: it ends with the frame that makes 1 MiB full. */
#define HCALLREC_MAX_PART   (1 << 20)
#define HCALLREC_MAX_RECORD (HCALLREC_MAX_PART + (128 << 10))
#define HCALLREC_MAX_PARTS  (HCALL_NET_MAX_FRAMES + 3)

/* ---- The table of functions ------------------------------------------------ */

enum hcallrec_replay {
	HCALLREC_UNKNOWN, /* what it wrote is not known either */
	HCALLREC_ANSWER, /* as recorded */
	HCALLREC_OUTPUT, /* let through, as much as recorded: users shall see it */
	HCALLREC_LEAVE, /* let through: the guest ends */
	HCALLREC_ELEMENTS, /* let through: its elements are calls */
	HCALLREC_QUEUES, /* never in a recording: what follows comes by no call */
};

/**
 * struct hcallrec_function - what there is to record and replay of a function
 * @replay:  enum hcallrec_replay
 * @args:    a bit for each argument that has to be the same in a replay; not
 *	     those that the call ignores, and not a deadline, which the guest may
 *	     have computed by a clock of its own
 * @gpa:     the argument that says where it writes to, if @unit is not 0
 * @room:    the argument that says how many bytes at most; 0: none does
 * @unit:    bytes that it has written for each 1 of its result; 0: none
 */
struct hcallrec_function {
	__u8 replay;
	__u8 args;
	__u8 gpa;
	__u8 room;
	__u16 unit;
};

/**
 * hcallrec_function() - what there is to record and replay of a call
 * @nr: its number
 *
 * All functions of the ABI are here.
 */
static inline __attribute__((always_inline)) struct hcallrec_function
hcallrec_function(__u32 nr)
{
#define FUNCTION(...)                     \
	return (struct hcallrec_function) \
	{                                 \
		__VA_ARGS__               \
	}
#define SAYS(args)		FUNCTION(HCALLREC_ANSWER, args, 0, 0, 0)
#define WRITES(args, gpa, unit) FUNCTION(HCALLREC_ANSWER, args, gpa, 0, unit)

	switch (nr) {
	case HCALL_SYS_PROBE:
		SAYS(0x1);
	case HCALL_SYS_DEVICE:
		WRITES(0x7, 1, 1);
	case HCALL_SYS_BATCH:
		FUNCTION(HCALLREC_ELEMENTS, 0xf, 0, 0, 0);
	case HCALL_SYS_EXIT:
		FUNCTION(HCALLREC_LEAVE, 0x3, 0, 0, 0);
	case HCALL_SYS_RANDOM:
		WRITES(0x3, 0, 1);
	case HCALL_CONSOLE_WRITE:
		FUNCTION(HCALLREC_OUTPUT, 0xf, 0, 0, 0);
	case HCALL_CONSOLE_READ:
		WRITES(0xf, 1, 1);
	case HCALL_CONSOLE_PUTC:
		FUNCTION(HCALLREC_OUTPUT, 0x7, 0, 0, 0);
	case HCALL_CONSOLE_GETC:
		SAYS(0x3);
	case HCALL_CONSOLE_SIZE:
		SAYS(0x1);
	case HCALL_BLOCK_READ:
		WRITES(0xf, 2, 512);
	case HCALL_BLOCK_WRITE:
		SAYS(0xf);
	case HCALL_BLOCK_FLUSH:
		SAYS(0x1);
	case HCALL_BLOCK_DISCARD:
		SAYS(0x7);
	case HCALL_BLOCK_WRITE_ZEROES:
		SAYS(0xf);
	case HCALL_TIMER_NOW:
		SAYS(0x1);
	case HCALL_TIMER_ARM:
		SAYS(0xd);
	case HCALL_TIMER_CANCEL:
		SAYS(0x1);
	case HCALL_TIMER_EXPIRED:
		SAYS(0x1);
	case HCALL_INPUT_READ:
		WRITES(0xf, 1, 8);
	case HCALL_INPUT_WRITE:
		SAYS(0x7);
	case HCALL_INPUT_CONFIG:
		FUNCTION(HCALLREC_ANSWER, 0xf, 2, 3, 1);
	case HCALL_NET_SEND:
		SAYS(0xf);
	case HCALL_NET_RECV:
		WRITES(0xf, 1, 1);
	case HCALL_NET_SENDV:
		SAYS(0xf);
	case HCALL_NET_RECVV: /* the list; and the frames that it names */
		WRITES(0xf, 1, 16);
	case HCALL_NET_FEATURES:
		SAYS(0x3);
	case HCALL_NET_LINK:
		SAYS(0x1);
	case HCALL_EVENT_PAGE: /* what is in it is recorded with every call */
		SAYS(0x1);
	case HCALL_EVENT_NEXT:
		SAYS(0x0);
	case HCALL_EVENT_WAIT:
		SAYS(0x2);
	case HCALL_EVENT_MASK:
		SAYS(0x3);
	case HCALL_EVENT_ROUTE:
		SAYS(0xf);
	case HCALL_EVENT_RAISE:
		SAYS(0x1);
	case HCALL_VIRTIO_DEVICE:
		WRITES(0x7, 1, 1);
	case HCALL_VIRTIO_STATUS:
	case HCALL_VIRTIO_FEATURES:
	case HCALL_VIRTIO_QUEUE:
	case HCALL_VIRTIO_KICK:
	case HCALL_VIRTIO_CONFIG_READ:
	case HCALL_VIRTIO_CONFIG_WRITE:
		FUNCTION(HCALLREC_QUEUES, 0, 0, 0, 0);
	default:
		FUNCTION(HCALLREC_UNKNOWN, 0xf, 0, 0, 0);
	}

#undef WRITES
#undef SAYS
#undef FUNCTION
}

/* ---- Replay ------------------------------------------------------------------ */

/* Calls of a vCPU, or the elements of a VM's asynchronous batches. */
struct hcallrec_key {
	__u32 vm;
	__s32 vcpu;
};

/**
 * struct hcallrec_stream - where a replay stands
 * @first:   of the map order, where the offsets of its calls are
 * @calls:   how many
 * @next:    the one that comes next
 * @done:    bytes of it that are out; it is HCALLREC_OUTPUT
 * @passing: it is being let through
 * @batch:   so is a BATCH; @next is one of its elements, or itself
 * @rest:    the host cut a batch short that was longer when recorded
 * @finished: of asynchronous elements: how many have been answered
 * @seen:    the same when a vCPU last waited for them
 */
struct hcallrec_stream {
	__u32 first;
	__u32 calls;
	__u32 next;
	__u32 done;
	__u32 passing;
	__u32 batch;
	__u32 rest;
	__u32 finished;
	__u32 seen;
};

enum hcallrec_why {
	HCALLREC_SAME,
	HCALLREC_OTHER_CALL, /* number, door or arguments */
	HCALLREC_OTHER_RESULT, /* of what was let through */
	HCALLREC_NO_MEMORY, /* the data cannot be put where it was */
};

/**
 * struct hcallrec_difference - where a replay has left the recording
 * @why:    enum hcallrec_why
 * @offset: of the call in the recording; 0: there is none any more
 * @vm:     as in the recording
 * @vcpu:   the same
 * @nr:     of the guest's call
 * @door:   the same
 * @args:   the same
 * @result: the same; of HCALLREC_OTHER_RESULT
 */
struct hcallrec_difference {
	__u32 why;
	__u32 vm;
	__s32 vcpu;
	__u32 nr;
	__u64 offset;
	__u64 args[4];
	__s64 result;
	__u32 door;
};

#endif
