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
 * @ops:   as for hcall_batch()
 * @count: as for hcall_batch()
 * @event: address of a uint64_t, a multiple of 8, which the host increments
 *         by 1 when all results of this batch are in; the guest only reads it
 *
 * Return: @count; -HCALL_EAGAIN: too many batches are on their way;
 * -HCALL_EINTR: call again; -HCALL_ENOMEM, -HCALL_EINVAL, -HCALL_E2BIG,
 * -HCALL_EFAULT.  After an error nothing was started.
 */
static inline int64_t hcall_batch_async(hcall_gpa ops, uint32_t count,
					hcall_gpa event)
{
	return hcall(HCALL_SYS_BATCH, ops, count, HCALL_BATCH_ASYNC, event);
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
 * the rest; errors as hcall_block_write().
 */
static inline int64_t hcall_block_write_zeroes(uint32_t dev, uint64_t sector,
					       uint32_t sectors, uint32_t flags)
{
	return hcall(HCALL_BLOCK_WRITE_ZEROES, dev, sector, sectors, flags);
}

#endif /* HCALL_CALL_H */
