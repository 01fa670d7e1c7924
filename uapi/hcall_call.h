/* SPDX-License-Identifier: MIT */
/*
 * hcall inline calls: one function for each call of the guest ABI.
 *
 * Results are as in Documentation/abi.rst: >= 0 is the answer, < 0 a negated
 * HCALL_E* number.  Every call may be made from any vCPU at any time in CPL 0.
 *
 * The instruction is VMCALL.  On a CPU whose own instruction is VMMCALL, KVM
 * rewrites it in place on its first use; a kernel whose text is not writable
 * defines HCALL_INSN before including this file, as "vmmcall" on AMD.
 */
#ifndef HCALL_CALL_H
#define HCALL_CALL_H

#include "hcall.h"

#ifndef HCALL_INSN
#define HCALL_INSN "vmcall"
#endif

/**
 * hcall() - make a call
 * @number:  HCALL_* or HCALL_NR()
 * @a: @b: @c: @d: the arguments, in order
 *
 * In 32-bit mode arguments and result are 32 bits wide; a larger argument
 * needs a batch, and is refused here instead of being cut.
 *
 * Return: the result; -HCALL_EINVAL for an argument over 32 bits in 32-bit mode.
 */
static inline int64_t hcall(uint32_t number, uint64_t a, uint64_t b, uint64_t c,
			    uint64_t d)
{
#if defined(__x86_64__)
	int64_t result;

	__asm__ __volatile__(HCALL_INSN
			     : "=a"(result)
			     : "a"((uint64_t)number), "b"(a), "c"(b), "d"(c),
			       "S"(d)
			     : "memory", "cc");
	return result;
#elif defined(__i386__)
	int32_t result;

	if ((a | b | c | d) >> 32)
		return -HCALL_EINVAL;
	__asm__ __volatile__(HCALL_INSN
			     : "=a"(result)
			     : "a"(number), "b"((uint32_t)a), "c"((uint32_t)b),
			       "d"((uint32_t)c), "S"((uint32_t)d)
			     : "memory", "cc");
	return result;
#else
#error "hcall is for x86"
#endif
}

/* ---- Discovery by CPUID ------------------------------------------------ */

static inline void hcall_cpuid(uint32_t leaf, uint32_t *eax, uint32_t *ebx,
			       uint32_t *ecx, uint32_t *edx)
{
	__asm__ __volatile__("cpuid"
			     : "=a"(*eax), "=b"(*ebx), "=c"(*ecx), "=d"(*edx)
			     : "a"(leaf), "c"(0));
}

/**
 * hcall_features() - does this VM serve calls?
 *
 * Looks for the leaf range, as guests look for Xen's and KVM's.  A launcher
 * may leave the range out; hcall_probe() then still tells.
 *
 * Return: HCALL_FEATURE_* bits; 0 if there is no such range.
 */
static inline uint32_t hcall_features(void)
{
	uint32_t base, eax, ebx, ecx, edx;

	hcall_cpuid(1, &eax, &ebx, &ecx, &edx);
	if (!(ecx >> 31)) /* not in a VM */
		return 0;
	for (base = HCALL_CPUID_FIRST; base <= HCALL_CPUID_LAST;
	     base += HCALL_CPUID_STEP) {
		hcall_cpuid(base, &eax, &ebx, &ecx, &edx);
		if (ebx != HCALL_CPUID_EBX || ecx != HCALL_CPUID_ECX ||
		    edx != HCALL_CPUID_EDX)
			continue;
		if (eax < base + HCALL_CPUID_FEATURES)
			return 0;
		hcall_cpuid(base + HCALL_CPUID_FEATURES, &eax, &ebx, &ecx,
			    &edx);
		return eax;
	}
	return 0;
}

/* ---- sys --------------------------------------------------------------- */

/**
 * hcall_probe() - which functions of a class are there
 * @class_id: HCALL_CLASS_*
 *
 * Return: a mask with bit f set if function f can be called; 0: none.
 * Without hcall: -HCALL_ENOSYS.
 */
static inline int64_t hcall_probe(uint32_t class_id)
{
	return hcall(HCALL_SYS_PROBE, class_id, 0, 0, 0);
}

/**
 * hcall_device() - describe the device at @index of the list of all devices
 * @index: 0, 1, ... until the answer is -HCALL_ENODEV
 * @info:  address of a struct hcall_device
 * @bytes: its size, HCALL_DEVICE_MIN_BYTES or more
 *
 * Return: the bytes written, at most @bytes; -HCALL_ENODEV, -HCALL_EINVAL,
 * -HCALL_EFAULT.
 */
static inline int64_t hcall_device(uint32_t index, hcall_gpa info,
				   uint32_t bytes)
{
	return hcall(HCALL_SYS_DEVICE, index, info, bytes, 0);
}

/**
 * hcall_batch() - make several calls in order, and return when they are done
 * @ops:   address of @count struct hcall_op, a multiple of 8
 * @count: 1 to HCALL_BATCH_MAX_OPS
 *
 * Return: the number of elements done, from the first on; fewer than @count
 * when interrupted: call again with the rest.  -HCALL_EINTR: none was done.
 * -HCALL_EINVAL, -HCALL_E2BIG, -HCALL_EFAULT.
 */
static inline int64_t hcall_batch(hcall_gpa ops, uint32_t count)
{
	return hcall(HCALL_SYS_BATCH, ops, count, 0, 0);
}

/**
 * hcall_batch_async() - start several calls; results arrive in place
 * @ops:     as for hcall_batch()
 * @count:   as for hcall_batch()
 * @channel: fires when all results of this batch are in; one of the guest's
 *           own, HCALL_CHANNEL_GUEST or higher
 *
 * Return: @count; -HCALL_EAGAIN: too many batches are on their way;
 * -HCALL_EINTR: call again; -HCALL_ENOMEM, -HCALL_EINVAL, -HCALL_E2BIG,
 * -HCALL_EFAULT.  After an error nothing was started.
 */
static inline int64_t hcall_batch_async(hcall_gpa ops, uint32_t count,
					uint32_t channel)
{
	return hcall(HCALL_SYS_BATCH, ops, count, HCALL_BATCH_ASYNC, channel);
}

/**
 * hcall_exit() - stop the VM
 * @reason: HCALL_EXIT_*
 * @code:   0 to 255, the launcher's exit status if @reason is HCALL_EXIT_OFF or
 *          HCALL_EXIT_PANIC
 *
 * Return: only on a mistake: -HCALL_EINVAL.
 */
static inline int64_t hcall_exit(uint32_t reason, uint32_t code)
{
	return hcall(HCALL_SYS_EXIT, reason, code, 0, 0);
}

/**
 * hcall_random() - random bytes from the host's generator
 * @buffer: where to
 * @bytes:  1 to HCALL_RANDOM_MAX_BYTES
 *
 * Return: @bytes; -HCALL_EINVAL, -HCALL_E2BIG, -HCALL_EFAULT.
 */
static inline int64_t hcall_random(hcall_gpa buffer, uint32_t bytes)
{
	return hcall(HCALL_SYS_RANDOM, buffer, bytes, 0, 0);
}

/* ---- console ----------------------------------------------------------- */

/**
 * hcall_console_write() - write bytes
 * @dev:   unit
 * @bytes: 1 to HCALL_CONSOLE_MAX_BYTES
 * @data:  the bytes
 * @flags: 0 or HCALL_NOWAIT
 *
 * Return: the bytes taken, at least 1; -HCALL_EAGAIN: none, call again;
 * -HCALL_EINTR, -HCALL_ENODEV, -HCALL_EINVAL, -HCALL_E2BIG, -HCALL_EFAULT,
 * -HCALL_EIO, -HCALL_ENOSPC, -HCALL_ENOMEM.
 */
static inline int64_t hcall_console_write(uint32_t dev, hcall_gpa data,
					  uint32_t bytes, uint32_t flags)
{
	return hcall(HCALL_CONSOLE_WRITE, dev, data, bytes, flags);
}

/**
 * hcall_console_read() - read what has been typed
 * @dev:    unit
 * @buffer: where to
 * @bytes:  1 to HCALL_CONSOLE_MAX_BYTES
 * @flags:  0 or HCALL_NOWAIT
 *
 * Return: the bytes read, at least 1; 0: the input has ended;
 * -HCALL_EAGAIN: nothing there, call again; else as hcall_console_write().
 */
static inline int64_t hcall_console_read(uint32_t dev, hcall_gpa buffer,
					 uint32_t bytes, uint32_t flags)
{
	return hcall(HCALL_CONSOLE_READ, dev, buffer, bytes, flags);
}

/**
 * hcall_console_putc() - write one byte
 * @dev:   unit
 * @byte:  0 to 255
 * @flags: 0 or HCALL_NOWAIT
 *
 * Return: 1; errors as hcall_console_write().
 */
static inline int64_t hcall_console_putc(uint32_t dev, uint32_t byte,
					 uint32_t flags)
{
	return hcall(HCALL_CONSOLE_PUTC, dev, byte, flags, 0);
}

/**
 * hcall_console_getc() - read one byte
 * @dev:   unit
 * @flags: 0 or HCALL_NOWAIT
 *
 * Return: 0 to 255; -HCALL_EIO: the input has ended; else as
 * hcall_console_read().
 */
static inline int64_t hcall_console_getc(uint32_t dev, uint32_t flags)
{
	return hcall(HCALL_CONSOLE_GETC, dev, flags, 0, 0);
}

/**
 * hcall_console_size() - the size of the screen
 * @dev: unit
 *
 * Return: for HCALL_SIZE_COLUMNS() and HCALL_SIZE_ROWS(); 0: not known;
 * -HCALL_ENODEV.
 */
static inline int64_t hcall_console_size(uint32_t dev)
{
	return hcall(HCALL_CONSOLE_SIZE, dev, 0, 0, 0);
}

/**
 * hcall_console_write_all() - write all bytes, however slow the reader is
 * @dev:   unit
 * @data:  the bytes
 * @bytes: any number
 *
 * Return: 0, or the first error that calling again does not mend.
 */
static inline int64_t hcall_console_write_all(uint32_t dev, hcall_gpa data,
					      uint64_t bytes)
{
	while (bytes) {
		uint32_t chunk = bytes < HCALL_CONSOLE_MAX_BYTES
					 ? (uint32_t)bytes
					 : HCALL_CONSOLE_MAX_BYTES;
		int64_t n = hcall_console_write(dev, data, chunk, 0);

		if (n == -HCALL_EAGAIN || n == -HCALL_EINTR)
			continue;
		if (n < 0)
			return n;
		data += (uint64_t)n;
		bytes -= (uint64_t)n;
	}
	return 0;
}

/* ---- block ------------------------------------------------------------- */

/**
 * hcall_block_read() - read sectors
 * @dev:     unit
 * @sector:  the first, in units of 512 bytes
 * @buffer:  where to, of any alignment
 * @sectors: 1 to HCALL_BLOCK_MAX_SECTORS
 *
 * Return: the sectors read, at least 1; fewer than @sectors: call again with
 * the rest.  -HCALL_EINTR: none, call again.  -HCALL_ENODEV, -HCALL_EINVAL,
 * -HCALL_E2BIG, -HCALL_ERANGE, -HCALL_EFAULT, -HCALL_EIO, -HCALL_ENOMEM.
 */
static inline int64_t hcall_block_read(uint32_t dev, uint64_t sector,
				       hcall_gpa buffer, uint32_t sectors)
{
	return hcall(HCALL_BLOCK_READ, dev, sector, buffer, sectors);
}

/**
 * hcall_block_write() - write sectors; they are on the disk after a flush
 * @dev:     unit
 * @sector:  the first
 * @data:    where from, of any alignment
 * @sectors: 1 to HCALL_BLOCK_MAX_SECTORS
 *
 * Return: as hcall_block_read(); also -HCALL_EROFS, -HCALL_ENOSPC.
 */
static inline int64_t hcall_block_write(uint32_t dev, uint64_t sector,
					hcall_gpa data, uint32_t sectors)
{
	return hcall(HCALL_BLOCK_WRITE, dev, sector, data, sectors);
}

/**
 * hcall_block_flush() - wait until everything written is on the disk
 * @dev: unit
 *
 * Return: 0; -HCALL_ENODEV, -HCALL_EIO, -HCALL_ENOSPC, -HCALL_ENOMEM,
 * -HCALL_EINTR.
 */
static inline int64_t hcall_block_flush(uint32_t dev)
{
	return hcall(HCALL_BLOCK_FLUSH, dev, 0, 0, 0);
}

/**
 * hcall_block_discard() - give sectors back; they may read as anything
 * @dev:     unit
 * @sector:  the first
 * @sectors: 1 to max_discard_sectors of struct hcall_block_info
 *
 * Return: the sectors discarded; -HCALL_EOPNOTSUPP; else as hcall_block_write().
 */
static inline int64_t hcall_block_discard(uint32_t dev, uint64_t sector,
					  uint32_t sectors)
{
	return hcall(HCALL_BLOCK_DISCARD, dev, sector, sectors, 0);
}

/**
 * hcall_block_write_zeroes() - make sectors read as zeros
 * @dev:     unit
 * @sector:  the first
 * @sectors: 1 to max_zeroes_sectors of struct hcall_block_info
 * @flags:   0 or HCALL_ZEROES_UNMAP
 *
 * Return: the sectors zeroed, at least 1; fewer than @sectors: call again with
 * the rest; -HCALL_EOPNOTSUPP; else as hcall_block_write().
 */
static inline int64_t hcall_block_write_zeroes(uint32_t dev, uint64_t sector,
					       uint32_t sectors, uint32_t flags)
{
	return hcall(HCALL_BLOCK_WRITE_ZEROES, dev, sector, sectors, flags);
}

/* ---- timer ------------------------------------------------------------- */

/**
 * hcall_timer_now() - what time is it
 * @clock: HCALL_CLOCK_*
 *
 * 64-bit mode only: in 32-bit mode half of the answer would be lost, so the
 * call is made by hcall_batch() there.
 *
 * Return: ns; -HCALL_EINVAL.
 */
static inline int64_t hcall_timer_now(uint32_t clock)
{
	return hcall(HCALL_TIMER_NOW, clock, 0, 0, 0);
}

/**
 * hcall_timer_arm() - let channel HCALL_CHANNEL_TIMER + @timer fire
 * @timer:    0 to HCALL_TIMERS - 1; what it was armed for before is forgotten
 * @deadline: ns of @clock; fires at once if that is past
 * @period:   ns, HCALL_TIMER_MIN_PERIOD or more; 0: fires once
 * @clock:    HCALL_CLOCK_*
 *
 * Return: 0; -HCALL_EINVAL, -HCALL_ENOMEM.
 */
static inline int64_t hcall_timer_arm(uint32_t timer, uint64_t deadline,
				      uint64_t period, uint32_t clock)
{
	return hcall(HCALL_TIMER_ARM, timer, deadline, period, clock);
}

/**
 * hcall_timer_cancel() - disarm
 * @timer: 0 to HCALL_TIMERS - 1
 *
 * Its channel may still be pending from before.
 *
 * Return: 1: it was armed, 0: it was not; -HCALL_EINVAL.
 */
static inline int64_t hcall_timer_cancel(uint32_t timer)
{
	return hcall(HCALL_TIMER_CANCEL, timer, 0, 0, 0);
}

/**
 * hcall_timer_expired() - how often did it fire
 * @timer: 0 to HCALL_TIMERS - 1
 *
 * Return: periods that have ended since it was armed or last asked; more than
 * 1: the guest fell behind; -HCALL_EINVAL.
 */
static inline int64_t hcall_timer_expired(uint32_t timer)
{
	return hcall(HCALL_TIMER_EXPIRED, timer, 0, 0, 0);
}

/* ---- input ------------------------------------------------------------- */

/**
 * hcall_input_read() - read events
 * @dev:    unit
 * @events: where to: @count struct hcall_input_event
 * @count:  1 to HCALL_INPUT_MAX_EVENTS
 * @flags:  0 or HCALL_NOWAIT
 *
 * Return: the events read, at least 1; -HCALL_EAGAIN: none, call again;
 * -HCALL_EINTR, -HCALL_ENODEV, -HCALL_EINVAL, -HCALL_E2BIG, -HCALL_EFAULT,
 * -HCALL_EIO: the device is gone.
 */
static inline int64_t hcall_input_read(uint32_t dev, hcall_gpa events,
				       uint32_t count, uint32_t flags)
{
	return hcall(HCALL_INPUT_READ, dev, events, count, flags);
}

/**
 * hcall_input_write() - set the device's lights
 * @dev:    unit
 * @events: @count struct hcall_input_event, all EV_LED or a SYN_REPORT
 * @count:  1 to HCALL_INPUT_MAX_EVENTS
 *
 * Return: the events taken; -HCALL_EOPNOTSUPP: the device has no such way;
 * -HCALL_ENOMEM; else as hcall_input_read().
 */
static inline int64_t hcall_input_write(uint32_t dev, hcall_gpa events,
					uint32_t count)
{
	return hcall(HCALL_INPUT_WRITE, dev, events, count, 0);
}

/**
 * hcall_input_config() - what kind of device is it
 * @dev:    unit
 * @select: HCALL_INPUT_SELECT(HCALL_INPUT_*, subsel)
 * @buffer: where to
 * @bytes:  room there, 1 or more; what does not fit is not written
 *
 * Return: the bytes of the whole answer; 0: there is none; -HCALL_ENODEV,
 * -HCALL_EINVAL, -HCALL_EFAULT.
 */
static inline int64_t hcall_input_config(uint32_t dev, uint32_t select,
					 hcall_gpa buffer, uint32_t bytes)
{
	return hcall(HCALL_INPUT_CONFIG, dev, select, buffer, bytes);
}

/* ---- net --------------------------------------------------------------- */

/**
 * hcall_net_send() - send a frame
 * @dev:   unit
 * @frame: an Ethernet frame, after a struct hcall_net_header if a feature is on
 * @bytes: of both, HCALL_NET_MIN_BYTES (and the header) to HCALL_NET_MAX_BYTES
 * @flags: 0 or HCALL_NOWAIT
 *
 * Return: 0; -HCALL_EAGAIN: the host has no room, call again; -HCALL_EINTR,
 * -HCALL_ENODEV, -HCALL_EINVAL, -HCALL_E2BIG, -HCALL_EFAULT, -HCALL_EIO,
 * -HCALL_ENOMEM.
 */
static inline int64_t hcall_net_send(uint32_t dev, hcall_gpa frame,
				     uint32_t bytes, uint32_t flags)
{
	return hcall(HCALL_NET_SEND, dev, frame, bytes, flags);
}

/**
 * hcall_net_recv() - receive a frame
 * @dev:    unit
 * @buffer: where to; first a struct hcall_net_header if a feature is on
 * @bytes:  room there, at most HCALL_NET_MAX_BYTES
 * @flags:  0 or HCALL_NOWAIT
 *
 * Return: the bytes of the frame and its header; -HCALL_EAGAIN: none is there,
 * call again; -HCALL_E2BIG: it does not fit, and stays; else as
 * hcall_net_send().
 */
static inline int64_t hcall_net_recv(uint32_t dev, hcall_gpa buffer,
				     uint32_t bytes, uint32_t flags)
{
	return hcall(HCALL_NET_RECV, dev, buffer, bytes, flags);
}

/**
 * hcall_net_sendv() - send frames, in order
 * @dev:    unit
 * @frames: @count struct hcall_frame, a multiple of 8
 * @count:  1 to HCALL_NET_MAX_FRAMES
 * @flags:  0 or HCALL_NOWAIT
 *
 * Return: the frames sent, at least 1: call again with the rest; or, if there
 * is none, what hcall_net_send() says of the first.
 */
static inline int64_t hcall_net_sendv(uint32_t dev, hcall_gpa frames,
				      uint32_t count, uint32_t flags)
{
	return hcall(HCALL_NET_SENDV, dev, frames, count, flags);
}

/**
 * hcall_net_recvv() - receive as many frames as there are
 * @dev:    unit
 * @frames: room for @count of them: struct hcall_frame, a multiple of 8
 * @count:  1 to HCALL_NET_MAX_FRAMES
 * @flags:  0 or HCALL_NOWAIT
 *
 * Return: the frames received, at least 1, from the first element on; or, if
 * there is none, what hcall_net_recv() says of the first.
 */
static inline int64_t hcall_net_recvv(uint32_t dev, hcall_gpa frames,
				      uint32_t count, uint32_t flags)
{
	return hcall(HCALL_NET_RECVV, dev, frames, count, flags);
}

/**
 * hcall_net_features() - choose offloads; from then on frames have headers
 * @dev:      unit
 * @features: HCALL_NET_F_* that DEVICE offers; 0: none, and no headers
 *
 * Frames that have arrived before keep the form that they had.
 *
 * Return: 0; -HCALL_EINVAL: not offered, or TSO without CSUM; -HCALL_EAGAIN: too
 * soon after the last change, call again; -HCALL_EINTR, -HCALL_ENODEV,
 * -HCALL_EIO.
 */
static inline int64_t hcall_net_features(uint32_t dev, uint32_t features)
{
	return hcall(HCALL_NET_FEATURES, dev, features, 0, 0);
}

/**
 * hcall_net_link() - is the link up, and what is its MTU
 * @dev: unit
 *
 * Return: HCALL_LINK_UP or not, and for HCALL_LINK_MTU(); -HCALL_ENODEV.
 */
static inline int64_t hcall_net_link(uint32_t dev)
{
	return hcall(HCALL_NET_LINK, dev, 0, 0, 0);
}

/* ---- event ------------------------------------------------------------- */

/**
 * hcall_event_page() - let the host keep pending and mask bits in guest memory
 * @page: of a struct hcall_event_page, a multiple of 256; what is pending or
 *        masked now is written there.  HCALL_NO_PAGE: not any more
 *
 * Return: 0; -HCALL_EINVAL, -HCALL_EFAULT, -HCALL_ENOMEM.
 */
static inline int64_t hcall_event_page(hcall_gpa page)
{
	return hcall(HCALL_EVENT_PAGE, page, 0, 0, 0);
}

/**
 * hcall_event_next() - take the first event that this vCPU shall serve
 *
 * Return: the channel, lowest first, whose pending bit is now clear;
 * -HCALL_EAGAIN: nothing is pending; -HCALL_EOPNOTSUPP: in an async batch.
 */
static inline int64_t hcall_event_next(void)
{
	return hcall(HCALL_EVENT_NEXT, 0, 0, 0, 0);
}

/**
 * hcall_event_wait() - sleep as HLT does until an event, too, wakes the vCPU
 * @deadline: ns of HCALL_CLOCK_MONOTONIC, if @flags says so; else 0
 * @flags:    0 or HCALL_WAIT_DEADLINE
 *
 * Return: 0: look at what is pending, there may be nothing; -HCALL_EINTR: call
 * again; -HCALL_EINVAL; -HCALL_EOPNOTSUPP: in a batch, or without KVM's local
 * APIC; -HCALL_ENOMEM.
 */
static inline int64_t hcall_event_wait(uint64_t deadline, uint32_t flags)
{
	return hcall(HCALL_EVENT_WAIT, deadline, flags, 0, 0);
}

/**
 * hcall_event_mask() - keep a channel from waking and interrupting, or let it
 * @channel: 0 to HCALL_CHANNELS - 1
 * @on:      1: masked; 0: not, and if it is pending it fires now
 *
 * Return: what it was before; -HCALL_EINVAL.
 */
static inline int64_t hcall_event_mask(uint32_t channel, uint32_t on)
{
	return hcall(HCALL_EVENT_MASK, channel, on, 0, 0);
}

/**
 * hcall_event_route() - which vCPU a channel is for, and with what interrupt
 * @channel: 0 to HCALL_CHANNELS - 1
 * @vcpu:    initial APIC ID; HCALL_VCPU_ANY: every vCPU may take it
 * @vector:  HCALL_ROUTE_NONE; a vector for that vCPU's local APIC; or a line
 * @flags:   0 or HCALL_ROUTE_LINE: @vector is a line of PIC and I/O APIC, 0 to
 *           HCALL_ROUTE_MAX_LINE, edge-triggered
 *
 * Return: 0; -HCALL_EINVAL; -HCALL_ENODEV: no such vCPU; -HCALL_EOPNOTSUPP: an
 * interrupt in a batch; -HCALL_ENOSYS: the launcher gives no interrupts;
 * -HCALL_ENOMEM, -HCALL_EIO: it cannot.
 */
static inline int64_t hcall_event_route(uint32_t channel, uint32_t vcpu,
					uint32_t vector, uint32_t flags)
{
	return hcall(HCALL_EVENT_ROUTE, channel, vcpu, vector, flags);
}

/**
 * hcall_event_raise() - let a channel fire, for another vCPU or the launcher
 * @channel: one of the guest's own, HCALL_CHANNEL_GUEST or higher
 *
 * Return: 0; -HCALL_EINVAL.
 */
static inline int64_t hcall_event_raise(uint32_t channel)
{
	return hcall(HCALL_EVENT_RAISE, channel, 0, 0, 0);
}

/**
 * hcall_event_take() - look at a channel without a call
 * @page:    as given to hcall_event_page()
 * @channel: 0 to HCALL_CHANNELS - 1
 *
 * Return: 1: it was pending and no longer is; 0: it was not.
 */
static inline int hcall_event_take(struct hcall_event_page *page,
				   uint32_t channel)
{
	uint32_t bit = (uint32_t)1 << channel % 32;
	uint32_t *word = &page->pending[channel / 32];

	if (!(__atomic_load_n(word, __ATOMIC_RELAXED) & bit))
		return 0;
	return (__atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST) & bit) != 0;
}

/* ---- virtio ------------------------------------------------------------ */

/**
 * hcall_virtio_device() - describe a device as virtio's drivers see it
 * @dev:   HCALL_VIRTIO_DEV() or HCALL_VIRTIO_RNG
 * @info:  address of a struct hcall_virtio_device
 * @bytes: its size, 64 or more
 *
 * Return: the bytes written; -HCALL_ENODEV, also for one of a class without
 * queues; -HCALL_EINVAL, -HCALL_EFAULT.
 */
static inline int64_t hcall_virtio_device(uint32_t dev, hcall_gpa info,
					  uint32_t bytes)
{
	return hcall(HCALL_VIRTIO_DEVICE, dev, info, bytes, 0);
}

/**
 * hcall_virtio_status() - change the status of a device, or look at it
 * @dev:    HCALL_VIRTIO_DEV() or HCALL_VIRTIO_RNG
 * @status: the bits there are and new ones; 0: reset; or
 *	    HCALL_VIRTIO_STATUS_GET
 *
 * After a reset the host does not touch the queues' memory any more.
 *
 * Return: the status now: without FEATURES_OK (8) if the features chosen will not
 * do, with DEVICE_NEEDS_RESET (64) after a mistake in a queue; -HCALL_EINVAL,
 * -HCALL_ENODEV; -HCALL_EINTR, -HCALL_EAGAIN: call again.
 */
static inline int64_t hcall_virtio_status(uint32_t dev, uint32_t status)
{
	return hcall(HCALL_VIRTIO_STATUS, dev, status, 0, 0);
}

/**
 * hcall_virtio_features() - choose features
 * @dev:      HCALL_VIRTIO_DEV() or HCALL_VIRTIO_RNG
 * @features: of those that are offered, with VERSION_1
 *
 * After DRIVER, before FEATURES_OK.  In 32-bit mode VERSION_1 is too much for a
 * register: make the call by hcall_batch().
 *
 * Return: 0; -HCALL_EINVAL, -HCALL_ENODEV; -HCALL_EINTR: call again.
 */
static inline int64_t hcall_virtio_features(uint32_t dev, uint64_t features)
{
	return hcall(HCALL_VIRTIO_FEATURES, dev, features, 0, 0);
}

/**
 * hcall_virtio_queue() - say where a queue is
 * @dev:   HCALL_VIRTIO_DEV() or HCALL_VIRTIO_RNG
 * @queue: its number
 * @info:  address of a struct hcall_virtio_queue
 * @bytes: its size
 *
 * After FEATURES_OK, before DRIVER_OK.
 *
 * Return: 0; -HCALL_EINVAL, -HCALL_ENODEV, -HCALL_EFAULT, -HCALL_ENOMEM;
 * -HCALL_EINTR: call again.
 */
static inline int64_t hcall_virtio_queue(uint32_t dev, uint32_t queue,
					 hcall_gpa info, uint32_t bytes)
{
	return hcall(HCALL_VIRTIO_QUEUE, dev, queue, info, bytes);
}

/**
 * hcall_virtio_kick() - there are new buffers in a queue
 * @dev:   HCALL_VIRTIO_DEV() or HCALL_VIRTIO_RNG
 * @queue: its number
 * @flags: HCALL_KICK_TELL or 0
 *
 * What needs no waiting is in the used ring when this returns.
 *
 * Return: 0; 1: buffers were used of which the guest wants to hear, and with
 * HCALL_KICK_TELL has now heard; -HCALL_EAGAIN, -HCALL_EINTR: there are more,
 * call again; -HCALL_EINVAL, -HCALL_ENODEV; -HCALL_EIO: the device needs a reset.
 */
static inline int64_t hcall_virtio_kick(uint32_t dev, uint32_t queue,
					uint32_t flags)
{
	return hcall(HCALL_VIRTIO_KICK, dev, queue, flags, 0);
}

/**
 * hcall_virtio_config_read() - read from the configuration space
 * @dev:    HCALL_VIRTIO_DEV() or HCALL_VIRTIO_RNG
 * @offset: in bytes
 * @gpa:    where to
 * @bytes:  how many; what is read in one call belongs together
 *
 * Return: 0; -HCALL_EINVAL: beyond its end; -HCALL_ENODEV, -HCALL_EFAULT,
 * -HCALL_ENOMEM; -HCALL_EINTR: call again.
 */
static inline int64_t hcall_virtio_config_read(uint32_t dev, uint32_t offset,
					       hcall_gpa gpa, uint32_t bytes)
{
	return hcall(HCALL_VIRTIO_CONFIG_READ, dev, offset, gpa, bytes);
}

/**
 * hcall_virtio_config_write() - write to the configuration space
 * @dev:    HCALL_VIRTIO_DEV() or HCALL_VIRTIO_RNG
 * @offset: in bytes
 * @gpa:    where from
 * @bytes:  how many
 *
 * Return: 0; -HCALL_EINVAL: not a field that can be written, or not with this;
 * -HCALL_ENODEV, -HCALL_EFAULT, -HCALL_ENOMEM; -HCALL_EINTR: call again.
 */
static inline int64_t hcall_virtio_config_write(uint32_t dev, uint32_t offset,
						hcall_gpa gpa, uint32_t bytes)
{
	return hcall(HCALL_VIRTIO_CONFIG_WRITE, dev, offset, gpa, bytes);
}

#endif /* HCALL_CALL_H */
